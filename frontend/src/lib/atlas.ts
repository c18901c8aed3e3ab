// Where an image's thumbnail lies in the lossless atlases.
import type { Atlas } from '@/client'

export interface Tile {
  atlas: number
  x: number
  y: number
}

export function tileOf(atlas: Atlas, index: number): Tile {
  const perAtlas = atlas.columns * atlas.rows
  const place = index % perAtlas
  return {
    atlas: Math.floor(index / perAtlas),
    x: (place % atlas.columns) * atlas.tile,
    y: Math.floor(place / atlas.columns) * atlas.tile,
  }
}

/** Whole-number zoom that makes small images readable: about 64 px for a 28 or 32 px image. */
export function naturalZoom(tile: number): number {
  return Math.max(1, Math.round(64 / tile))
}
