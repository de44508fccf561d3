// Texts to the token ids that embedge gives them in Python: the package @huggingface/tokenizers, where it is known to
// agree with the one in Rust, and what is done to a text so that it does.

// BERT's normalizer in Rust puts spaces around these ideographs, too; the package only around those of 16 bits. The gap
// before U+2B920 is Rust's.
const IDEOGRAPH = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

// Rust's tables of marks and punctuation are older than browsers': these 667 characters are plain letters there, and so
// is U+0378, which no Unicode has assigned. Neither is in a vocabulary, so one stands in for the other.
const LATER =
  "61d 7fd 890-89f 8ca-8e2 9fd-9fe a76 afa-aff b55 c04 c3c c77 c84 d00 d3b-d3c d81 eba ece 180f 1885-1886 1abf-1aeb " +
  "1b4e-1b4f 1b7d-1b7f 1df6-1dfb 2e43-2e4f 2e52-2e5d a82c a8c5 a8ff a9bd 105c9 105e4 10d24-10d27 10d69-10d6e " +
  "10eab-10ead 10ed0 10efa-10eff 10f46-10f50 10f55-10f59 10f82-10f89 11070 11073-11074 110c2-110cd 111cf 1123e 11241 " +
  "1133b 11383 11385 1138e 11391 113bb-113c0 113c5-113c8 113ce 113d0 113d2 113d4-113e2 11438-1143f 11442-11444 11446 " +
  "1144b-1144f 1145a-1145e 11660-1166c 116b9 1182f-11837 11839-1183b 11938-1193c 1193e 11943-11946 119d4-119db 119e0 " +
  "119e2 11a01-11a0a 11a33-11a38 11a3b-11a47 11a51-11a56 11a59-11a5b 11a8a-11a96 11a98-11a9c 11a9e-11aa2 11b00-11b60 " +
  "11b62-11b64 11b66 11be1 11c30-11c3d 11c3f 11c41-11c45 11c70-11c71 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6 " +
  "11d31-11d45 11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 11ef7-11f01 11f36-11f3a 11f40 11f42-11f4f 11f5a 11fff " +
  "12ff1-12ff2 13430-13440 13447-13455 1611e-16129 1612d-1612f 16d68-16d6a 16d6d-16d6f 16e97-16e9a 16f4f 16fe2 16fe4 " +
  "1cf00-1cf46 1e000-1e02a 1e08f 1e130-1e136 1e2ae 1e2ec-1e2ef 1e4ec-1e4ef 1e5ee-1e5ef 1e5ff 1e6e3 1e6e6 1e6ee-1e6ef " +
  "1e6f5 1e944-1e94a 1e95e-1e95f";
const LATER_LETTER = new RegExp(`[${LATER.replace(/[0-9a-f]+/g, "\\u{$&}").replaceAll(" ", "")}]`, "gu");
const LETTER = "\u0378";
// What is left: two that are punctuation in Rust, and two marks there.
const PUNCTUATION = /\u166d|\u{111c9}/gu;
const MARK = /\u1734|\u{1171e}/gu;

/** The tokenizer of a bundle. */
export class BundleTokenizer {
  /**
   * @param {Function} Tokenizer the class of the package @huggingface/tokenizers
   * @param {object} definition what the bundle's tokenizer.json holds
   * @param {{max_tokens: number, tokenizer: {before: number[], after: number[], truncation_side: string}}} manifest
   */
  constructor(Tokenizer, definition, manifest) {
    this.prepare = preparation(definition);
    this.tokenizer = new Tokenizer(definition, {});
    this.facts = manifest.tokenizer;
    this.maxTokens = manifest.max_tokens;
  }

  /**
   * The ids of a text with its special tokens, and whether it lost an end to have no more than the model takes.
   *
   * @param {string} text
   * @returns {{ids: number[], truncated: boolean}}
   */
  encode(text) {
    const { ids } = this.tokenizer.encode(this.prepare(text));
    if (ids.length <= this.maxTokens) return { ids, truncated: false };
    const { before, after, truncation_side: side } = this.facts;
    const inner = ids.slice(before.length, ids.length - after.length);
    const room = this.maxTokens - before.length - after.length;
    const kept = side === "right" ? inner.slice(0, room) : inner.slice(inner.length - room);
    return { ids: [...before, ...kept, ...after], truncated: true };
  }
}

/** What has to be done to texts before the package gets them; an error for tokenizers that it was not compared on. */
function preparation(definition) {
  const { model, normalizer, pre_tokenizer: splitter } = definition;
  const kinds = [normalizer?.type, splitter?.type, model?.type].map((kind) => kind ?? "none").join(", ");
  const bytes = kinds === "none, ByteLevel, BPE";
  if (!bytes && kinds !== "BertNormalizer, BertPreTokenizer, WordPiece") {
    throw new Error(
      `tokenizer.json is of a kind that this page does not read as Python does (${kinds}); it reads BERT's word pieces ` +
        "and RoBERTa's byte pairs",
    );
  }
  const other = difference(definition);
  if (other) throw new Error(`tokenizer.json has ${other}, which this page does not read as Python does`);
  if (bytes) return (text) => text;
  const { lowercase, strip_accents, handle_chinese_chars: spaced } = normalizer;
  return (text) => {
    if (lowercase) text = text.replaceAll("Σ", "σ"); // at the end of a word, browsers make ς of it
    if (strip_accents ?? lowercase) text = text.replace(MARK, "");
    if (spaced) text = text.replace(IDEOGRAPH, " $& ");
    return text.replace(PUNCTUATION, (letter) => ` ${letter === "\u166d" ? letter : LETTER} `).replace(LATER_LETTER, LETTER);
  };
}

/** What the package reads in another way, or nothing. */
function difference({ model, normalizer, added_tokens: added = [] }) {
  if (normalizer?.clean_text === false) return "a normalizer that keeps control characters";
  if (model.end_of_word_suffix) return "byte pairs with a mark at the end of words";
  for (const { id, content, single_word: alone, special, normalized } of added) {
    const token = `the added token ${JSON.stringify(content)}`;
    if (alone) return `${token} for whole words only`;
    if (normalizer && !special && !normalized) return `${token}, neither special nor normalized`;
    if (Object.hasOwn(model.vocab, content) && model.vocab[content] !== id) return `${token} with two ids`;
  }
  return null;
}
