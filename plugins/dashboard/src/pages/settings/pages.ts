/** The pages to which saved filters belong. */

const PAGES: Record<string, { path: string; name: string }> = {
  jobs: { path: "/jobs", name: "My jobs" },
  narratives: { path: "/jobs/narratives", name: "By narrative" },
  history: { path: "/jobs/history", name: "History" },
  admin: { path: "/admin/jobs", name: "All jobs" },
  "admin/jobs": { path: "/admin/jobs", name: "All jobs" },
  "admin-jobs": { path: "/admin/jobs", name: "All jobs" },
  stats: { path: "/stats", name: "Statistics" },
};

/** A page's name in the bar of pages. */
export function pageName(page: string): string {
  return Object.hasOwn(PAGES, page) ? (PAGES[page]?.name ?? page) : page;
}

/** The address that a saved filter stands for; one of a page that is unknown leads to the history. */
export function addressOf(saved: { page: string; query: string }): string {
  const path = (Object.hasOwn(PAGES, saved.page) && PAGES[saved.page]?.path) || "/jobs/history";
  return saved.query ? `${path}?${saved.query}` : path;
}
