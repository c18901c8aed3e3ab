// The look: calm, dense, exact. Neutral greys, one accent; colours with a meaning live in styles/shell.css as variables.
import { createTheme, type MantineColorsTuple } from '@mantine/core'

const accent: MantineColorsTuple = [
  '#e6f3fa',
  '#cde6f3',
  '#9bcbe6',
  '#68b0d8',
  '#3e99cc',
  '#1f87c1',
  '#0b7bb9',
  '#0072b2',
  '#005f95',
  '#004d79',
]
const gray: MantineColorsTuple = [
  '#f7f8f8',
  '#eff0f1',
  '#e3e5e6',
  '#d3d6d8',
  '#b4b8bb',
  '#8d9296',
  '#666b70',
  '#4a4f54',
  '#303438',
  '#1b1e21',
]
const dark: MantineColorsTuple = [
  '#dcdfe1',
  '#b9bec2',
  '#9aa0a5',
  '#6b7176',
  '#3c4146',
  '#2d3135',
  '#22262a',
  '#191c1f',
  '#131518',
  '#0d0f11',
]

export const fontSans = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'
export const fontMono = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "Liberation Mono", monospace'

export const theme = createTheme({
  primaryColor: 'accent',
  primaryShade: { light: 7, dark: 6 },
  colors: { accent, gray, dark },
  fontFamily: fontSans,
  fontFamilyMonospace: fontMono,
  fontSizes: { xs: '12px', sm: '14px', md: '14px', lg: '16px', xl: '20px' },
  headings: {
    fontFamily: fontSans,
    fontWeight: '600',
    sizes: {
      h1: { fontSize: '20px', lineHeight: '28px' },
      h2: { fontSize: '16px', lineHeight: '24px' },
      h3: { fontSize: '14px', lineHeight: '20px' },
    },
  },
  spacing: { xs: '8px', sm: '12px', md: '16px', lg: '24px', xl: '32px' },
  radius: { xs: '3px', sm: '6px', md: '6px', lg: '6px', xl: '6px' },
  defaultRadius: 'sm',
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Button: { defaultProps: { size: 'sm' } },
    TextInput: { defaultProps: { size: 'sm' } },
    Select: { defaultProps: { size: 'sm', allowDeselect: false } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true, transitionProps: { duration: 100 } } },
    Popover: { defaultProps: { transitionProps: { duration: 100 }, shadow: 'none' } },
    Modal: { defaultProps: { transitionProps: { duration: 100 }, shadow: 'none' } },
    Notification: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } },
    Paper: { defaultProps: { withBorder: true, p: 'md', shadow: 'none' } },
  },
})
