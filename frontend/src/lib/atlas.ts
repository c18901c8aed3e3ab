// Where an image's thumbnail is to be had. A data set has lossless atlases of all its images in order; images from all over
// it would each bring an atlas of their own, a megabyte or more for a picture of a few kilobytes, and the server cuts sheets
// of those for us.
import type { Atlas } from '@/client'
import { address } from './api'

/** A tile of a sheet. x, y: of the tile, in tiles. */
export interface Thumbnail {
  url: string
  columns: number
  rows: number
  x: number
  y: number
}

/** Images in one sheet of the server's, which has so many columns. */
const PER_SHEET = 128
const SHEET_COLUMNS = 16
/** Where there are no more atlases than this, they are loaded. */
const FEW_ATLASES = 2
/** So many images wanted of one atlas are worth loading it. */
const WORTH_AN_ATLAS = PER_SHEET / FEW_ATLASES
const MOST_REMEMBERED = 50_000

const perAtlas = (atlas: Atlas): number => atlas.columns * atlas.rows

function fromAtlas(datasetId: string, atlas: Atlas, index: number): Thumbnail {
  const { columns, rows } = atlas
  const place = index % perAtlas(atlas)
  return {
    url: address.atlas(datasetId, Math.floor(index / perAtlas(atlas))),
    columns,
    rows,
    x: place % columns,
    y: Math.floor(place / columns),
  }
}

function fromSheet(datasetId: string, indices: readonly number[]): Thumbnail[] {
  const url = address.thumbnails(datasetId, indices)
  const rows = Math.ceil(indices.length / SHEET_COLUMNS)
  return indices.map((_, place) => ({
    url,
    columns: SHEET_COLUMNS,
    rows,
    x: place % SHEET_COLUMNS,
    y: Math.floor(place / SHEET_COLUMNS),
  }))
}

/** Of an image outside a gallery. among: images that are shown beside it, and come in one sheet with it. */
export function thumbnailOf(
  datasetId: string,
  atlas: Atlas,
  index: number,
  among: readonly number[] = [index],
): Thumbnail {
  if (atlas.count <= FEW_ATLASES) return fromAtlas(datasetId, atlas, index)
  return fromSheet(datasetId, among)[among.indexOf(index)]
}

/** Thumbnails of images in an order that changes: an image keeps the sheet that it first came with. */
export class Thumbnails {
  private readonly known = new Map<number, Thumbnail>()

  constructor(
    private readonly datasetId: string,
    private readonly atlas: Atlas,
  ) {}

  /**
   * Of the image at a place of an order. Its neighbours there are asked for together with it, and of `likely` images, which
   * may come next, as many as the sheet has room for.
   */
  at(order: Int32Array, place: number, likely?: Int32Array): Thumbnail {
    return this.known.get(order[place]) ?? this.findAt(order, place, likely)
  }

  private findAt(order: Int32Array, place: number, likely: Int32Array = new Int32Array()): Thumbnail {
    const { datasetId, atlas, known } = this
    if (known.size > MOST_REMEMBERED) known.clear()
    const first = place - (place % PER_SHEET)
    const wanted = [...order.subarray(first, first + PER_SHEET)].filter((index) => !known.has(index))
    const atlases = new Set(wanted.map((index) => Math.floor(index / perAtlas(atlas))))
    if (atlas.count <= FEW_ATLASES || atlases.size * WORTH_AN_ATLAS <= wanted.length) {
      for (const index of wanted) known.set(index, fromAtlas(datasetId, atlas, index))
    } else {
      const also = new Set(wanted)
      for (let k = 0; k < likely.length && also.size < PER_SHEET; k++) if (!known.has(likely[k])) also.add(likely[k])
      const indices = [...also]
      for (const [k, found] of fromSheet(datasetId, indices).entries()) known.set(indices[k], found)
    }
    return known.get(order[place]) as Thumbnail
  }
}

/** Whole-number zoom that makes small images readable: about 64 px for a 28 or 32 px image. */
export function naturalZoom(tile: number): number {
  return Math.max(1, Math.round(64 / tile))
}
