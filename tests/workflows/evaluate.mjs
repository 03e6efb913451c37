// Conditions of jobs, by GitHub's own evaluator: reads [{condition, needs, inputs, cancelled}], prints [boolean].
import {readFileSync} from "node:fs";
import {Evaluator, Lexer, Parser, data} from "@actions/expressions";

const STATUS = ["success", "failure", "cancelled", "always"];

function value(given) {
  if (given === null || given === undefined) return new data.Null();
  if (typeof given === "object") {
    return new data.Dictionary(...Object.entries(given).map(([key, one]) => ({key, value: value(one)})));
  }
  return typeof given === "boolean" ? new data.BooleanData(given) : new data.StringData(String(given));
}

function runs({condition, needs, inputs, cancelled}) {
  const results = Object.values(needs).map(need => need.result);
  const answers = {
    success: !cancelled && results.every(result => result === "success"),
    failure: results.includes("failure"),
    cancelled,
    always: true,
  };
  // A condition without a function of status has success() before it.
  const bare = condition.replace(/^\$\{\{(.*)\}\}$/s, "$1").trim() || "success()";
  const whole = STATUS.some(name => bare.includes(`${name}(`)) ? bare : `success() && (${bare})`;
  const functions = new Map(
    STATUS.map(name => [name, {name, minArgs: 0, maxArgs: 0, call: () => new data.BooleanData(answers[name])}]),
  );
  const names = ["needs", "inputs"];
  const parsed = new Parser(new Lexer(whole).lex().tokens, names, [...functions.values()]).parse();
  const found = new Evaluator(parsed, value({needs, inputs}), functions).evaluate();
  return !(found.kind === data.Kind.Null || found.coerceString() === "false" || found.coerceString() === "");
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(runs)));
