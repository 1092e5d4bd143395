// @ts-check

/** What a call ended with when it did not do what was asked: the fields of a problem document. */
export class Problem extends Error {
  /** @param {number} status @param {any} document */
  constructor(status, document) {
    super(document?.detail ?? document?.kind ?? "");
    this.status = status;
    this.kind = String(document?.kind ?? "internal");
    this.document = document ?? {};
    /** @type {{field: string, kind: string, detail: string}[]} */
    this.errors = Array.isArray(document?.errors) ? document.errors : [];
  }

  /** No answer came: the panel cannot be reached. */
  static unreachable() {
    return new Problem(0, { kind: "unreachable" });
  }
}
