// The page's own files are kept by a service worker. Where there can be none, the page works, but not without a network.

let loaded = false;
let leaving = false;

/**
 * Told when the page has loaded all of its files: a newer version of them then waits for the next visit.
 *
 * @returns {boolean} false where one has come before, and the page is being loaded again
 */
export function programLoaded() {
  loaded = true;
  return !leaving;
}

/**
 * Start the service worker and wait until this page's requests go through it, so that large files come once.
 *
 * @returns {Promise<boolean>} whether the page's files are kept
 */
export async function keepProgram() {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return false;
  try {
    const older = serviceWorker.controller;
    const inCharge = new Promise((resolve) => {
      serviceWorker.addEventListener("controllerchange", () => {
        // A newer version has come in between: the page's files would be of both.
        if (older && !loaded) {
          leaving = true;
          location.reload();
        }
        resolve(true);
      });
    });
    const registration = await serviceWorker.register("service-worker.js", { updateViaCache: "none" });
    // Already in charge, or left out on purpose by a reload with the shift key.
    if (older || registration.active) return true;
    const { installing } = registration;
    const failed = new Promise((resolve) => {
      installing?.addEventListener("statechange", () => installing.state === "redundant" && resolve(false));
    });
    return await Promise.race([inCharge, failed]);
  } catch {
    return false;
  }
}
