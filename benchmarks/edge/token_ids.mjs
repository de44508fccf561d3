// The token ids of the strings on standard input, by kind, by the tokenizer.json that is given.
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const tokenizer = new Tokenizer(JSON.parse(readFileSync(process.argv[2], "utf8")), {});
const kinds = JSON.parse(readFileSync(0, "utf8"));
const ids = Object.entries(kinds).map(([kind, texts]) => [kind, texts.map((text) => tokenizer.encode(text).ids)]);
process.stdout.write(JSON.stringify(Object.fromEntries(ids)));
