"""What a person does in the workbench, as scripts of the page that time it by the browser's own clock."""

JUDGE = """async ([n, pace]) => {
  const grid = document.querySelector('[role=grid]')
  const times = []
  for (let k = 0; k < n; k++) {
    const id = grid.getAttribute('aria-activedescendant')
    const before = document.getElementById(id)
    const picture = before.querySelector('.tile-picture')
    if (!picture.style.backgroundImage) throw new Error('a tile has no picture')
    const began = performance.now()
    window.dispatchEvent(new KeyboardEvent('keydown', { key: k % 3 ? 'p' : 'c', bubbles: true }))
    while (!document.getElementById(id)?.dataset.verdict || grid.getAttribute('aria-activedescendant') === id) {
      await new Promise(requestAnimationFrame)
      if (performance.now() - began > 10000) throw new Error('no verdict after ten seconds')
    }
    times.push(performance.now() - began)
    if (pace) await new Promise(resolve => setTimeout(resolve, began + pace - performance.now()))
  }
  return times
}"""
"""(images, milliseconds between keys) -> milliseconds from each key until its verdict and the next image are drawn."""
DESK = """async ([n, pace]) => {
  const region = document.querySelector('section[aria-label="Image to judge"]')
  const shown = () => region.querySelector('img[alt^="Training image"]')
  const times = []
  for (let k = 0; k < n; k++) {
    const before = shown().alt
    const began = performance.now()
    window.dispatchEvent(new KeyboardEvent('keydown', { key: k % 3 ? 'c' : 'p', bubbles: true }))
    while (shown().alt === before || !shown().complete || !region.textContent.includes(`${k + 1} of `)) {
      await new Promise(requestAnimationFrame)
      if (performance.now() - began > 10000) throw new Error('no next image after ten seconds')
    }
    times.push(performance.now() - began)
    if (pace) await new Promise(resolve => setTimeout(resolve, began + pace - performance.now()))
  }
  return times
}"""
"""The same at the desk of a round."""
DRAG = """async ([selector, n, across]) => {
  const node = document.querySelector(selector)
  const box = node.getBoundingClientRect()
  const at = (k) => ({ clientX: box.left + box.width / 2 + across * k, clientY: box.top + box.height / 2, buttons: 1,
                       button: 0, pointerId: 1, bubbles: true, isPrimary: true })
  node.setPointerCapture = () => {}
  node.dispatchEvent(new PointerEvent('pointerdown', at(0)))
  const frames = []
  let last = await new Promise(requestAnimationFrame)
  for (let k = 1; k <= n; k++) {
    node.dispatchEvent(new PointerEvent('pointermove', at(k)))
    const now = await new Promise(requestAnimationFrame)
    frames.push(now - last)
    last = now
  }
  node.dispatchEvent(new PointerEvent('pointerup', at(n)))
  return frames
}"""
"""(selector, steps, pixels across) -> milliseconds of each frame while something is dragged."""
LASSO = """async () => {
  const node = document.querySelector('.map-surface canvas')
  const box = node.getBoundingClientRect()
  const at = (x, y) => ({ clientX: box.left + x * box.width, clientY: box.top + y * box.height, buttons: 1, button: 0,
                          pointerId: 1, bubbles: true, isPrimary: true })
  node.setPointerCapture = () => {}
  node.dispatchEvent(new PointerEvent('pointerdown', at(.3, .1)))
  for (const [x, y] of [[.9, .1], [.9, .9], [.3, .9]]) {
    node.dispatchEvent(new PointerEvent('pointermove', at(x, y)))
    await new Promise(requestAnimationFrame)
  }
  const began = performance.now()
  node.dispatchEvent(new PointerEvent('pointerup', at(.3, .5)))
  const tab = () => [...document.querySelectorAll('[role=tab]')].find(t => t.textContent.startsWith('Selected'))
  while (tab().getAttribute('aria-selected') !== 'true') await new Promise(requestAnimationFrame)
  await new Promise(requestAnimationFrame)
  return [performance.now() - began, Number(tab().textContent.replace(/\\D/g, ''))]
}"""
"""-> milliseconds from the end of a lasso around most of the map until its images are selected, and how many."""
OPENED = """async () => {
  while (!document.querySelector('.gallery .tile-picture')) await new Promise(requestAnimationFrame)
  await new Promise(requestAnimationFrame)
  return performance.now() - performance.getEntriesByType('navigation')[0].responseEnd
}"""
"""-> milliseconds from the HTML until the gallery is drawn."""
