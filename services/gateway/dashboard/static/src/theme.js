// Runs before the first paint, so that the page does not flash in the other theme. "system" is left to the stylesheet.
(() => {
  const root = document.documentElement;
  root.dataset.script = "";
  try {
    const theme = localStorage.getItem("storefleet-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // The browser blocks the storage: use the system theme.
  }
})();
