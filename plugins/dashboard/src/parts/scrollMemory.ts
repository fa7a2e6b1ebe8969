/** Where a list was scrolled to, for the way back to it. */

import type { ListMemory } from "../app/jobList";

function scroller(of: HTMLElement): Element {
  for (let at = of.parentElement; at; at = at.parentElement) {
    const { overflowY } = getComputedStyle(at);
    if (/auto|scroll/.test(overflowY) && at.scrollHeight > at.clientHeight) return at;
  }
  return document.scrollingElement ?? document.documentElement;
}

/** Goes to where the list was left, and notes where it is scrolled to until the given is called. */
export function rememberScroll(
  box: HTMLElement | null,
  memory: ListMemory | undefined,
): (() => void) | undefined {
  if (!box || !memory) return undefined;
  if (memory.top) box.scrollTop = memory.top;
  if (memory.page) scroller(box).scrollTop = memory.page;
  const scrolled = (event: Event) => {
    if (event.target === box) memory.top = box.scrollTop;
    else if (event.target === document || event.target === scroller(box))
      memory.page = scroller(box).scrollTop;
  };
  document.addEventListener("scroll", scrolled, { capture: true, passive: true });
  return () => document.removeEventListener("scroll", scrolled, { capture: true });
}
