// Runs before the first paint, so that a chosen theme never flashes; "system" leaves the choice to the stylesheet.
(() => {
  const root = document.documentElement;
  root.dataset.script = "";
  try {
    const theme = localStorage.getItem("storefleet-theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // Storage is closed to us: the system's theme it is.
  }
})();
