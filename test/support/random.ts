export { gaussianOf, randomOf as random } from "../../bench/support.js"

/** `DB_HUB_SEED`, or another seed every time; whoever uses it prints it. */
export const seedOfRun = (): number => Number(process.env["DB_HUB_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
