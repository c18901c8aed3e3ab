// One WebGL2 draw call for all points, or two where some are left out. Where they lie is sent once; how they look is a few bytes for each, sent again when
// the colours, the verdicts or the selection change.
import type { Size, View } from '@/lib/plane'

/** The look of a point: its shape, and whether it is selected or does not pass the filters. */
export const shape = { dot: 0, diamond: 1, circle: 2, half: 3, ring: 4 } as const
export const SELECTED = 8
export const DIM = 16

const VERTEX = `#version 300 es
in vec2 place;
in vec4 colour;
in uint look;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
out vec4 fill;
flat out uint form;
flat out uint chosen;
void main() {
  chosen = (look >> 3u) & 1u;
  form = look & 7u;
  bool dim = (look & 16u) != 0u && chosen == 0u;
  fill = dim ? vec4(colour.rgb, 0.35) : colour;
  gl_Position = vec4((place - centre) * scale, 0.0, 1.0);
  gl_PointSize = size * (chosen == 1u ? 2.2 : form == 0u ? 1.0 : 1.7);
}`

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 fill;
flat in uint form;
flat in uint chosen;
uniform vec3 ink;
out vec4 pixel;
void main() {
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  float edge = chosen == 1u ? 0.66 : 1.0;
  float r = form == 1u ? abs(at.x) + abs(at.y) : length(at);
  if (r > 1.0) discard;
  if (chosen == 1u && r > edge) { pixel = vec4(ink, 1.0); return; }
  bool hole = (form == 4u && r < 0.55 * edge) || (form == 3u && at.x > 0.0 && r < 0.6 * edge);
  if (hole) discard;
  pixel = fill;
}`

export class PointLayer {
  private isDressed = false
  private readonly gl: WebGL2RenderingContext
  private readonly program: WebGLProgram
  private readonly buffers: { place: WebGLBuffer; colour: WebGLBuffer; look: WebGLBuffer }
  private readonly uniforms: Record<'centre' | 'scale' | 'size' | 'ink', WebGLUniformLocation | null>

  /**
   * n points; `order` says in which order they are drawn, the last ones on top, and the last `nAlways` of them even where
   * others are left out. Throws where WebGL2 is absent.
   */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    x: Float32Array,
    y: Float32Array,
    private readonly order: Int32Array,
    private readonly nAlways: number,
  ) {
    const gl = canvas.getContext('webgl2', { antialias: false, alpha: true, premultipliedAlpha: false })
    if (!gl) throw new Error('This browser has no WebGL2.')
    this.gl = gl
    this.program = link(gl)
    // biome-ignore lint/correctness/useHookAtTopLevel: WebGL's own function, no React hook
    gl.useProgram(this.program)
    const places = new Float32Array(2 * order.length)
    order.forEach((row, k) => {
      places[2 * k] = x[row]
      places[2 * k + 1] = y[row]
    })
    this.buffers = { place: gl.createBuffer(), colour: gl.createBuffer(), look: gl.createBuffer() }
    for (const name of ['place', 'colour', 'look']) gl.enableVertexAttribArray(gl.getAttribLocation(this.program, name))
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.place)
    gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW)
    const at = (name: string) => gl.getUniformLocation(this.program, name)
    this.uniforms = { centre: at('centre'), scale: at('scale'), size: at('size'), ink: at('ink') }
    gl.enable(gl.BLEND)
    gl.blendFuncSeparate(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ONE, gl.ONE_MINUS_SRC_ALPHA)
  }

  /** Whether it has no colours yet. */
  isNew(): boolean {
    return !this.isDressed
  }

  /** colours: [4 n] red, green, blue, alpha by row; looks: [n] by row, a shape and SELECTED or DIM. */
  dress(colours: Uint8Array, looks: Uint8Array): void {
    const { gl, order } = this
    const sorted = new Uint32Array(order.length)
    const packed = new Uint32Array(colours.buffer, colours.byteOffset, colours.length / 4)
    const sortedLooks = new Uint8Array(order.length)
    for (let k = 0; k < order.length; k++) {
      sorted[k] = packed[order[k]]
      sortedLooks[k] = looks[order[k]]
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.colour)
    gl.bufferData(gl.ARRAY_BUFFER, sorted, gl.DYNAMIC_DRAW)
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers.look)
    gl.bufferData(gl.ARRAY_BUFFER, sortedLooks, gl.DYNAMIC_DRAW)
    this.isDressed = true
  }

  /**
   * size: of the canvas in CSS pixels; point: diameter of a dot; ink: of the ring around what is selected; stride: of so many
   * points that may be left out one is drawn.
   */
  draw(view: View, size: Size, point: number, ink: [number, number, number], stride = 1): void {
    const { gl, canvas, uniforms } = this
    const ratio = window.devicePixelRatio || 1
    const [width, height] = [Math.round(size.width * ratio), Math.round(size.height * ratio)]
    if (canvas.width !== width) canvas.width = width
    if (canvas.height !== height) canvas.height = height
    gl.viewport(0, 0, width, height)
    gl.clearColor(0, 0, 0, 0)
    gl.clear(gl.COLOR_BUFFER_BIT)
    gl.uniform2f(uniforms.centre, view.x, view.y)
    gl.uniform2f(uniforms.scale, (2 * view.kx) / size.width, (2 * view.ky) / size.height)
    gl.uniform1f(uniforms.size, point * ratio)
    gl.uniform3f(uniforms.ink, ...ink)
    const nFirst = this.order.length - this.nAlways
    if (stride === 1) {
      this.point(1)
      gl.drawArrays(gl.POINTS, 0, this.order.length)
    } else {
      this.point(stride)
      gl.drawArrays(gl.POINTS, 0, Math.floor(nFirst / stride))
      this.point(1)
      gl.drawArrays(gl.POINTS, nFirst, this.nAlways)
    }
  }

  free(): void {
    for (const buffer of Object.values(this.buffers)) this.gl.deleteBuffer(buffer)
    this.gl.deleteProgram(this.program)
  }

  /** Point the program to the points, or to one of every `stride`. */
  private point(stride: number): void {
    const { gl, program, buffers } = this
    const at = (name: keyof typeof buffers): number => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name])
      return gl.getAttribLocation(program, name)
    }
    gl.vertexAttribPointer(at('place'), 2, gl.FLOAT, false, 8 * stride, 0)
    gl.vertexAttribPointer(at('colour'), 4, gl.UNSIGNED_BYTE, true, 4 * stride, 0)
    gl.vertexAttribIPointer(at('look'), 1, gl.UNSIGNED_BYTE, stride, 0)
  }
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram()
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(kind)
    if (!shader) throw new Error('The drawing context was lost.')
    gl.shaderSource(shader, source)
    gl.compileShader(shader)
    gl.attachShader(program, shader)
  }
  gl.linkProgram(program)
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? 'no program')
  return program
}
