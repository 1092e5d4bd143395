// @ts-check
// Where exchanges that we know hide their keys. An exchange that is not here gets the general advice alone.

/** @type {Record<string, Record<string, string>>} exchange -> environment -> address */
export const KEY_PAGES = {
  binance: {
    prod: "https://www.binance.com/my/settings/api-management",
    test: "https://testnet.binance.vision/",
    demo: "https://demo.binance.com/my/settings/api-management",
  },
  bitget: {
    prod: "https://www.bitget.com/account/newapi",
    demo: "https://www.bitget.com/account/newapi",
  },
};

/** @param {string} exchange @param {string} environment */
export function keyPage(exchange, environment) {
  return KEY_PAGES[exchange]?.[environment] ?? "";
}
