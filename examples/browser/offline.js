// The page's own files are kept by a service worker. Where there can be none, the page works, but not without a network.

/**
 * Start the service worker and wait until this page's requests go through it, so that large files come once.
 *
 * Where a new version of the page has come since the last visit, the page is loaded again, before anything else is.
 *
 * @returns {Promise<boolean>} whether the page's files are kept
 */
export async function keepProgram() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return false;
  try {
    const inCharge = new Promise((resolve) => {
      serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
    });
    const registration = await serviceWorker.register("service-worker.js", { updateViaCache: "none" });
    if (serviceWorker.controller && registration.waiting) {
      registration.waiting.postMessage("take over");
      await inCharge;
      location.reload();
      await new Promise(() => {});
    }
    // Already in charge, or left out on purpose by a reload with the shift key.
    if (serviceWorker.controller || registration.active) return true;
    const { installing } = registration;
    const failed = new Promise((resolve) => {
      installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve(false));
    });
    return await Promise.race([inCharge, failed]);
  } catch {
    return false;
  }
}
