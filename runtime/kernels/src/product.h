// Products of rows of codes by a packed matrix. Included within the namespace of each instruction set, which has given
// `Tile`: the type of its codes, how a matrix is packed, and the sums of up to kRows rows by kVectors * 16 outputs.
//
// A packed matrix is a panel after another, each of kVectors * 16 outputs (the last may have fewer). Panels begin with
// the sums that all rows start from, which take the codes' zero point out, one for each output; then come kGroup inputs
// of each output, the next kGroup of each, and so on.

constexpr int kPanel = Tile::kVectors * kLanes;

// Rows that an instruction set takes together, where it says so.
template <typename T>
constexpr int row_step() {
  if constexpr (requires { T::kRowStep; })
    return T::kRowStep;
  else
    return 1;
}

constexpr int kRowStep = row_step<Tile>();

EMBEDGE_INLINE int round_up(int count, int multiple) { return (count + multiple - 1) / multiple * multiple; }

static size_t packed_bytes(int inputs, int outputs) {
  return static_cast<size_t>(outputs) * (round_up(inputs, Tile::kGroup) + sizeof(int32_t));
}

static void pack(const int8_t* codes, Matrix& matrix) {
  const int inputs = matrix.inputs, outputs = matrix.outputs;
  auto* to = static_cast<unsigned char*>(matrix.packed);
  for (int start = 0; start < outputs; start += kPanel) {
    const int columns = outputs - start < kPanel ? outputs - start : kPanel;
    int32_t sums[kPanel] = {};
    auto* starts = to;
    to += columns * sizeof(int32_t);
    for (int group = 0; group < inputs; group += Tile::kGroup) {
      const int8_t* rows = codes + static_cast<size_t>(group) * outputs + start;
      for (int within = 0; within < Tile::kGroup; ++within)
        for (int column = 0; column < columns; ++column) sums[column] += rows[within * outputs + column];
      for (int column = 0; column < columns; ++column)
        for (int within = 0; within < Tile::kGroup; ++within)
          to[Tile::place(column, within)] = static_cast<unsigned char>(rows[within * outputs + column]);
      to += columns * Tile::kGroup;
    }
    const int32_t zero = Tile::offset(matrix.rounding.zero_point) - matrix.rounding.zero_point;
    for (int column = 0; column < columns; ++column) sums[column] *= zero;
    memcpy(starts, sums, columns * sizeof(int32_t));
  }
}

// Rows of codes and their scales.
struct Rows {
  const Tile::Code* codes;
  const float* scales;
  int count;
};

template <int kCount, int kColumns, typename Finish>
EMBEDGE_INLINE void finish_tile(const Rows& rows, int first, const Matrix& matrix, int column,
                                const unsigned char* packed, Finish finish) {
  I sums[kCount][kColumns];
  Tile::template sums<kCount, kColumns>(rows.codes + static_cast<size_t>(first) * matrix.inputs, matrix.inputs, packed,
                                        sums);
#pragma GCC unroll 8
  for (int row = 0; row < kCount; ++row) {
    const F scale = splat(rows.scales[first + row]);
#pragma GCC unroll 8
    for (int vector = 0; vector < kColumns; ++vector) {
      const int at = column + vector * kLanes;
      finish(first + row, at, to_float(sums[row][vector]) * scale, load(matrix.scales + at));
    }
  }
}

template <int kColumns, typename Finish>
EMBEDGE_INLINE void multiply_panel(const Rows& rows, const Matrix& matrix, int column, const unsigned char* packed,
                                   Finish finish) {
  // Tiles of about equal height, which but for the last one is a multiple of kRowStep.
  const int tiles = (rows.count + Tile::kRows - 1) / Tile::kRows;
  const int steps = (rows.count + kRowStep - 1) / kRowStep;
  for (int tile = 0; tile < tiles; ++tile) {
    const int first = steps * tile / tiles * kRowStep, stop = steps * (tile + 1) / tiles * kRowStep;
    const int count = (stop < rows.count ? stop : rows.count) - first;
    switch (count) {
#define EMBEDGE_TILE(height)                                                                    \
  case height:                                                                                  \
    if constexpr (height <= Tile::kRows)                                                        \
      finish_tile<height, kColumns>(rows, first, matrix, column, packed, finish);               \
    break;
      EMBEDGE_TILE(1)
      EMBEDGE_TILE(2)
      EMBEDGE_TILE(3)
      EMBEDGE_TILE(4)
      EMBEDGE_TILE(5)
      EMBEDGE_TILE(6)
#undef EMBEDGE_TILE
    }
  }
}

// For each row and each 16 outputs, finish(row, output, sums * the row's scale, the outputs' scales).
template <typename Finish>
EMBEDGE_INLINE void multiply(const Rows& rows, const Matrix& matrix, Finish finish) {
  const auto* packed = static_cast<const unsigned char*>(matrix.packed);
  const size_t bytes_an_output = round_up(matrix.inputs, Tile::kGroup) + sizeof(int32_t);
  int column = 0;
  for (; column + kPanel <= matrix.outputs; column += kPanel, packed += kPanel * bytes_an_output)
    multiply_panel<Tile::kVectors>(rows, matrix, column, packed, finish);
  if constexpr (Tile::kVectors > 1) {
    switch ((matrix.outputs - column) / kLanes) {
      case 1:
        return multiply_panel<1>(rows, matrix, column, packed, finish);
      case 2:
        return multiply_panel<2>(rows, matrix, column, packed, finish);
      case 3:
        return multiply_panel<3>(rows, matrix, column, packed, finish);
    }
  }
}
