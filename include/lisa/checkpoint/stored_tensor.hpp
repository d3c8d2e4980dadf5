#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lisa {

/// Element types that checkpoint files hold.
enum class StoredDtype : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// One element type with its names: in safetensors headers, and the storage class that torch writes into a pickle.
struct StoredDtypeInfo {
  StoredDtype dtype;
  std::string_view safetensors_name;
  std::string_view torch_storage;
  std::size_t bytes;
};

inline constexpr std::array<StoredDtypeInfo, 10> stored_dtypes{{
    {StoredDtype::f64, "F64", "DoubleStorage", 8},
    {StoredDtype::f32, "F32", "FloatStorage", 4},
    {StoredDtype::f16, "F16", "HalfStorage", 2},
    {StoredDtype::bf16, "BF16", "BFloat16Storage", 2},
    {StoredDtype::i64, "I64", "LongStorage", 8},
    {StoredDtype::i32, "I32", "IntStorage", 4},
    {StoredDtype::i16, "I16", "ShortStorage", 2},
    {StoredDtype::i8, "I8", "CharStorage", 1},
    {StoredDtype::u8, "U8", "ByteStorage", 1},
    {StoredDtype::boolean, "BOOL", "BoolStorage", 1},
}};

[[nodiscard]] constexpr const StoredDtypeInfo& info(StoredDtype dtype) {
  return stored_dtypes[static_cast<std::size_t>(dtype)];
}

/// A tensor inside a file: all of its elements lie in bytes [begin, end) of the file, the first one at `begin`.
struct StoredTensor {
  std::string name;
  StoredDtype dtype = StoredDtype::f32;
  std::vector<std::int64_t> shape = {};
  std::vector<std::int64_t> strides = {};  ///< in elements; empty: dense, row-major
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Most dimensions a tensor may have (libtorch's own bound for strided kernels).
inline constexpr std::size_t max_stored_rank = 64;

/// Product of the extents; nothing when it, or the product without the zero extents (from which strides are
/// computed), leaves the signed 64-bit range. All extents must be >= 0.
[[nodiscard]] inline std::optional<std::int64_t> element_count(const std::vector<std::int64_t>& shape) {
  std::int64_t product = 1;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent == 0) empty = true;
    if (__builtin_mul_overflow(product, extent == 0 ? 1 : extent, &product)) return std::nullopt;
  }
  return empty ? 0 : product;
}

/// Bytes of a dense tensor; nothing on overflow.
[[nodiscard]] inline std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape,
                                                             StoredDtype dtype) {
  const std::optional<std::int64_t> count = element_count(shape);
  std::int64_t bytes = 0;
  if (!count || __builtin_mul_overflow(*count, static_cast<std::int64_t>(info(dtype).bytes), &bytes))
    return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

/// "[2, 3]".
[[nodiscard]] inline std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i == 8) return text + ", ... " + std::to_string(shape.size()) + " dimensions]";
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

}  // namespace lisa
