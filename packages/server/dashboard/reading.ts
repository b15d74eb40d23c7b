import { computed, signal } from '@preact/signals'

/** Whether somebody is reading or typing, so that nothing may slide away under the eyes. */
const isOver = signal(false)
const isSelecting = signal(false)
const isTyping = signal(false)
export const isDialogOpen = signal(false)
export const isReading = computed(() => isOver.value || isSelecting.value || isTyping.value || isDialogOpen.value)

const held = '[data-held]'
const within = (target: EventTarget | null, selector: string) =>
  target instanceof Element && target.closest(selector) !== null

document.addEventListener('pointerover', ({ target }) => {
  isOver.value = within(target, held)
})
document.documentElement.addEventListener('pointerleave', () => {
  isOver.value = false
})
document.addEventListener('selectionchange', () => {
  isSelecting.value = getSelection()?.isCollapsed === false
})
const follow = () => {
  const { activeElement } = document
  isTyping.value = within(activeElement, 'input, textarea, select') || within(activeElement, held)
}
document.addEventListener('focusin', follow)
document.addEventListener('focusout', () => queueMicrotask(follow))
