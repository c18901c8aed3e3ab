// The product's icons: one stroke, 16 px, the colour of the text.
import type { ReactNode } from 'react'

function Icon({ children, size = 16 }: { children: ReactNode; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {children}
    </svg>
  )
}

export const InboxIcon = () => (
  <Icon>
    <path d="M2 9h3l1 2h4l1-2h3M2 9l2-6h8l2 6v4H2z" />
  </Icon>
)
export const DatasetIcon = () => (
  <Icon>
    <path d="M2.5 2.5h4v4h-4zM9.5 2.5h4v4h-4zM2.5 9.5h4v4h-4zM9.5 9.5h4v4h-4z" />
  </Icon>
)
export const ModelIcon = () => (
  <Icon>
    <path d="M3 4.5 8 2l5 2.5v7L8 14l-5-2.5zM3 4.5 8 7l5-2.5M8 7v7" />
  </Icon>
)
export const CaseIcon = () => (
  <Icon>
    <path d="M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.5 10.5 14 14" />
  </Icon>
)
export const DrillIcon = () => (
  <Icon>
    <path d="M6 2v4l-3.500 6a1.500 1.500 0 0 0 1.300 2h8.400a1.500 1.500 0 0 0 1.300-2L10 6V2M5 2h6M4.500 10h7" />
  </Icon>
)
export const SweepIcon = () => (
  <Icon>
    <path d="M2 13.500h12M3.500 11V7.500M6.500 11V5M9.500 11V8M12.500 11V2.500" />
  </Icon>
)
export const JobIcon = () => (
  <Icon>
    <path d="M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 5v3l2 2" />
  </Icon>
)
export const PeopleIcon = () => (
  <Icon>
    <path d="M6 7.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 2.8a2.5 2.5 0 0 1 0 4.4M12 9.8c1.5.5 2.5 1.8 2.5 3.7" />
  </Icon>
)
export const SettingsIcon = () => (
  <Icon>
    <path d="M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M9 3v3h3V3zM4 10v3h3v-3z" />
  </Icon>
)
export const SunIcon = () => (
  <Icon>
    <path d="M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1M8 14v1M1 8h1M14 8h1M3 3l.7.7M12.3 12.3l.7.7M3 13l.7-.7M12.3 3.7l.7-.7" />
  </Icon>
)
export const MoonIcon = () => (
  <Icon>
    <path d="M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z" />
  </Icon>
)
export const UploadIcon = ({ size }: { size?: number }) => (
  <Icon size={size}>
    <path d="M8 10V2M5 5l3-3 3 3M2.5 10v3.5h11V10" />
  </Icon>
)
export const GoIcon = () => (
  <Icon>
    <path d="M3 4l4 4-4 4M8.500 12.500H13" />
  </Icon>
)
export const LinkIcon = () => (
  <Icon>
    <path d="M6.5 9.5 9.5 6.5M7 4.5l1.5-1.5a3 3 0 0 1 4.5 4.5L11.5 9M9 11.5 7.5 13A3 3 0 0 1 3 8.500L4.500 7" />
  </Icon>
)
export const SignOutIcon = () => (
  <Icon>
    <path d="M6 2.500H3v11h3M10 5l3 3-3 3M13 8H6" />
  </Icon>
)
export const QuestionIcon = () => (
  <Icon>
    <path d="M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM6.300 6.200A1.800 1.800 0 1 1 8 8.200v.6M8 11.200v.1" />
  </Icon>
)
export const WarningIcon = ({ size }: { size?: number }) => (
  <Icon size={size}>
    <path d="M8 2 1.500 13.500h13zM8 6.500v3M8 11.500v.1" />
  </Icon>
)
export const CrossIcon = () => (
  <Icon>
    <path d="m4 4 8 8M12 4l-8 8" />
  </Icon>
)
export const PauseIcon = () => (
  <Icon>
    <path d="M5.500 3.500v9M10.500 3.500v9" />
  </Icon>
)
export const PlayIcon = () => (
  <Icon>
    <path d="m5 3 8 5-8 5z" />
  </Icon>
)
export const BrandMark = () => (
  <svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="6" fill="#0072B2" />
    <path d="M16 6 26 16 16 26 6 16Z" fill="none" stroke="#fff" strokeWidth="2.5" />
    <circle cx="16" cy="16" r="3.5" fill="#fff" />
  </svg>
)
