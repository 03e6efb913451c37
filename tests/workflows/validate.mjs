// GitHub's own validator over files: node validate.js ROOT STANDINS FILE…; prints one JSON object for each diagnostic.
// Inputs of other people's actions are checked against those that the stand-ins declare.
import {existsSync, readFileSync} from "node:fs";
import {join, relative} from "node:path";
import {pathToFileURL} from "node:url";
import {validate} from "@actions/languageservice";
import {TextDocument} from "vscode-languageserver-textdocument";
import {parse} from "yaml";

const [root, standins, ...files] = process.argv.slice(2);

const fileProvider = {
  async getFileContent(reference) {
    const path = "repository" in reference && reference.repository ? undefined : reference.path;
    if (path === undefined || !existsSync(join(root, path))) throw new Error(`no file ${path}`);
    return {name: path, content: readFileSync(join(root, path), "utf8")};
  },
};
const actionsMetadataProvider = {
  async fetchActionMetadata({owner, name, path}) {
    const file = join(standins, name, path ?? "", "action.yml");
    return owner === "actions" && existsSync(file) ? parse(readFileSync(file, "utf8")) : undefined;
  },
};

for (const file of files) {
  const document = TextDocument.create(pathToFileURL(file).href, "yaml", 1, readFileSync(file, "utf8"));
  for (const found of await validate(document, {fileProvider, actionsMetadataProvider})) {
    const place = `${relative(root, file)}:${found.range.start.line + 1}`;
    console.log(JSON.stringify({place, message: found.message}));
  }
}
