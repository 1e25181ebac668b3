/**
 * What is needed of `yaml`, to be imported when it is: that is CommonJS, whose names a bundle gives to an `export` that
 * lists them, but not to an `import()`.
 */
export { LineCounter, parse, parseDocument, stringify } from "yaml"
