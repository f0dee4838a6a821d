/** Limit the size of uploads: Medusa reads each one into memory before it stores it. */

/**
 * Check the announced size of an upload.
 *
 * @param {import("node:http").IncomingMessage} request
 * @param {number | undefined} limit in bytes; undefined if the plan has none
 * @returns {{ type: string, message: string } | null} the problem in the form of Medusa's errors
 */
export function checkUpload({ headers }, limit) {
  if (!limit || !String(headers["content-type"]).startsWith("multipart/form-data")) return null
  const size = Number(headers["content-length"] ?? Number.NaN)
  if (size <= limit) return null
  const most = `${Math.floor(limit / 1e6)} MB`
  return {
    type: "invalid_data",
    message: Number.isNaN(size)
      ? "The upload does not state its size. Send the header Content-Length."
      : `The upload is too large. At most ${most} can be uploaded at once. Choose a smaller file.`,
  }
}

/** Up to this size a rejected upload is read to its end: clients see no answer before they sent all. */
const DISCARDED_SIZE_MAX_BYTES = 1 << 30

/**
 * Read a rejected upload without keeping it.
 *
 * @param {import("node:http").IncomingMessage} request
 * @returns {Promise<void>}
 */
export async function discardUpload(request) {
  let size = 0
  for await (const part of request) {
    size += part.length
    if (size > DISCARDED_SIZE_MAX_BYTES) return
  }
}
