// @ts-check

/**
 * Read a share as a person writes it: "25 %", "25", "1/4"; exactly, as text for the server.
 * @param {string} text
 * @returns {string} a fraction above 0 and at most 1, empty where it is none
 */
export function parseShare(text) {
  const plain = text.trim().replace(/[%％\s]/g, "");
  const fraction = /^(\d{1,18})\/(\d{1,18})$/.exec(plain);
  if (fraction) return within(BigInt(fraction[1]), BigInt(fraction[2]));
  const percent = /^(\d{1,3})(?:\.(\d{1,12}))?$/.exec(plain);
  if (!percent) return "";
  const [, whole, rest = ""] = percent;
  return within(BigInt(whole + rest), 100n * 10n ** BigInt(rest.length));
}

/** @param {bigint} above @param {bigint} below */
function within(above, below) {
  return above > 0n && below > 0n && above <= below ? `${above}/${below}` : "";
}
