"use strict";
// Starts the viewer of chemiscope with the data of the page.
(() => {
  const data = JSON.parse(document.getElementById("explore-data").textContent);
  const warnings = new Chemiscope.Warnings();
  warnings.addHandler((message) => console.warn(message));
  const fields = Object.fromEntries(["meta", "map", "structure", "info"].map((name) => [name, `explore-${name}`]));
  Chemiscope.DefaultVisualizer.load(fields, data, warnings).catch((error) => console.error(error));
})();
