// Tables as text: fields in quotes may hold separators, line breaks and doubled quotes (RFC 4180).

const SEPARATORS = [",", ";", "\t"];

/** The rows of a table, each a list of fields. Empty lines are left out. Throws where a quote is not closed. */
export function parseCsv(text) {
  const separator = findSeparator(text);
  const rows = [];
  let row = [];
  let field = "";
  let quotedFrom = null; // the line where the open quote began
  let line = 1;
  const endField = () => {
    row.push(field);
    field = "";
  };
  const endRow = () => {
    endField();
    if (row.length > 1 || row[0].trim()) rows.push(row);
    row = [];
  };
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "\n" || (character === "\r" && text[i + 1] !== "\n")) line++;
    if (quotedFrom !== null) {
      if (character !== '"') field += character;
      else if (text[i + 1] === '"') field += text[++i];
      else quotedFrom = null;
    } else if (character === '"' && field === "") quotedFrom = line;
    else if (character === separator) endField();
    else if (character === "\r" && text[i + 1] === "\n") continue;
    else if (character === "\n" || character === "\r") endRow();
    else field += character;
  }
  if (quotedFrom !== null) throw new Error(`the quote that opens in line ${quotedFrom} is never closed`);
  endRow();
  return rows;
}

/** The column whose fields are longest on average: most likely the one to search. */
export function longestColumn(rows) {
  const width = Math.max(...rows.slice(0, 1000).map((row) => row.length));
  const lengths = Array.from({ length: width }, (_, column) =>
    rows.slice(0, 1000).reduce((sum, row) => sum + (row[column]?.length ?? 0), 0),
  );
  return lengths.indexOf(Math.max(...lengths));
}

/** The separator that is most frequent outside quotes in the first line. */
function findSeparator(text) {
  const first = text.slice(0, 10_000).replace(/"(?:[^"]|"")*"/g, "").split(/[\r\n]/)[0];
  const counts = SEPARATORS.map((separator) => first.split(separator).length);
  return SEPARATORS[counts.indexOf(Math.max(...counts))];
}
