#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/files/file_defects.hpp"

namespace lisa {

namespace detail {

/// Position of the first of `count` values, `stride` apart, whose exponent bits are all ones: NaN or infinite.
template <class Bits>
[[nodiscard]] std::optional<std::int64_t> first_with_exponent(const std::byte* data, std::int64_t count,
                                                              std::int64_t stride, Bits exponent) {
  constexpr std::int64_t block = 4096;
  const auto load = [&](std::int64_t i) {
    Bits bits;
    std::memcpy(&bits, data + i * stride * static_cast<std::int64_t>(sizeof(Bits)), sizeof bits);
    return bits;
  };
  for (std::int64_t begin = 0; begin < count; begin += block) {
    const std::int64_t end = std::min(begin + block, count);
    bool found = false;  // without an early exit the compiler vectorises this loop
    for (std::int64_t i = begin; i < end; ++i) found |= (load(i) & exponent) == exponent;
    for (std::int64_t i = begin; found && i < end; ++i)
      if ((load(i) & exponent) == exponent) return i;
  }
  return std::nullopt;
}

[[nodiscard]] inline std::optional<std::int64_t> first_non_finite_in_row(const std::byte* data, std::int64_t count,
                                                                         std::int64_t stride, StoredDtype dtype) {
  switch (dtype) {
    case StoredDtype::f64:
      return first_with_exponent<std::uint64_t>(data, count, stride, 0x7FF0000000000000);
    case StoredDtype::f32:
      return first_with_exponent<std::uint32_t>(data, count, stride, 0x7F800000);
    case StoredDtype::f16:
      return first_with_exponent<std::uint16_t>(data, count, stride, 0x7C00);
    case StoredDtype::bf16:
      return first_with_exponent<std::uint16_t>(data, count, stride, 0x7F80);
    default:
      return std::nullopt;
  }
}

}  // namespace detail

/// Index of the first NaN or infinite element of a tensor of `file`; nothing when all are finite or integers.
[[nodiscard]] inline std::optional<std::vector<std::int64_t>> first_non_finite(const MappedFile& file,
                                                                               const StoredTensor& tensor) {
  const std::byte* const data = file.data() + tensor.begin;
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  if (tensor.begin == tensor.end) return std::nullopt;
  if (tensor.strides.empty()) {
    const auto count = static_cast<std::int64_t>((tensor.end - tensor.begin) / info(tensor.dtype).bytes);
    const std::optional<std::int64_t> found = detail::first_non_finite_in_row(data, count, 1, tensor.dtype);
    if (!found) return std::nullopt;
    std::int64_t rest = *found;
    for (std::size_t i = index.size(); i-- > 0; rest /= tensor.shape[i]) index[i] = rest % tensor.shape[i];
    return index;
  }
  const std::int64_t count = tensor.shape.empty() ? 1 : tensor.shape.back();
  const std::int64_t stride = tensor.shape.empty() ? 1 : tensor.strides.back();
  while (true) {  // rows in order; `index` counts the outer dimensions
    std::int64_t offset = 0;
    for (std::size_t i = 0; i + 1 < index.size(); ++i) offset += index[i] * tensor.strides[i];
    const auto row = data + offset * static_cast<std::int64_t>(info(tensor.dtype).bytes);
    if (const auto found = detail::first_non_finite_in_row(row, count, stride, tensor.dtype)) {
      if (!index.empty()) index.back() = *found;
      return index;
    }
    std::size_t i = index.size() < 2 ? 0 : index.size() - 1;
    for (; i > 0; --i) {
      if (++index[i - 1] < tensor.shape[i - 1]) break;
      index[i - 1] = 0;
    }
    if (i == 0) return std::nullopt;
  }
}

/// Throws FormatError that lists the tensors of `file` that hold a NaN or an infinite value, each with the index of the
/// first one. Reads all floating-point data.
inline void require_finite(const TensorFile& file) {
  FileDefects defects(file.file->name());
  for (const StoredTensor& tensor : file.tensors)
    if (const auto index = first_non_finite(*file.file, tensor))
      defects.add("tensor " + quoted(tensor.name),
                  found_expected("a NaN or infinite value at " + shape_text(*index), "finite values"));
  defects.throw_if_any();
}

}  // namespace lisa
