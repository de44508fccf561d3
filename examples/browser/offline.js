// The page's own files are kept by a service worker. Where there can be none, the page works, but not without a network.

/**
 * Start the service worker and wait until this page's requests go through it, so that large files come once.
 *
 * @returns {Promise<boolean>} whether the page's files are kept
 */
export async function keepProgram() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return false;
  try {
    const registration = await serviceWorker.register("service-worker.js");
    // Already in charge, or left out on purpose by a reload with the shift key.
    if (serviceWorker.controller || registration.active) return true;
    return await new Promise((resolve) => {
      serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
      const { installing } = registration;
      installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve(false));
    });
  } catch {
    return false;
  }
}
