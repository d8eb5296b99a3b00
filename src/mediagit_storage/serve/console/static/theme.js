// The colours that were chosen here before, before anything is drawn.
try {
  const chosen = localStorage.getItem("mgs-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // A browser that keeps nothing follows the system.
}
