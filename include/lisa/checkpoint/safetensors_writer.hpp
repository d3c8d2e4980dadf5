#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/json.hpp"

namespace lisa {

/// Takes the bytes of a tensor, in pieces of any size: dense, row-major.
using ByteSink = std::function<void(std::span<const std::byte>)>;

/// Hands the data of one tensor to the sink. A writer asks for one tensor at a time, so that no more than one needs to
/// be in memory.
using TensorProducer = std::function<void(const StoredTensor&, const ByteSink&)>;

namespace detail {

/// Sizes of tensors that are to be written; throws InputError for names that repeat and sizes beyond 2^63.
inline void check_tensors_to_write(const std::vector<StoredTensor>& tensors, const std::string& file) {
  std::set<std::string_view> names;
  for (const StoredTensor& tensor : tensors) {
    const std::string place = "tensor " + quoted(tensor.name);
    if (!names.insert(tensor.name).second) throw InputError(file, place, found_expected("the name twice", "once"));
    if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](std::int64_t extent) { return extent < 0; }) ||
        !byte_count(tensor.shape, tensor.dtype))
      throw InputError(file, place, found_expected("shape " + shape_text(tensor.shape), "at most 2^63 bytes"));
  }
}

/// Appends what `produce` gives for a tensor and demands that it is as long as dtype and shape say.
inline void append_tensor(const StoredTensor& tensor, const TensorProducer& produce, AtomicFile& file,
                          const ByteSink& also = {}) {
  const std::uint64_t expected = *byte_count(tensor.shape, tensor.dtype);
  const std::uint64_t begin = file.size();
  produce(tensor, [&](std::span<const std::byte> bytes) {
    if (also) also(bytes);
    file.append(bytes);
  });
  if (file.size() - begin != expected)
    throw InputError(file.name(), "tensor " + quoted(tensor.name),
                     found_expected(std::to_string(file.size() - begin) + " bytes of data", std::to_string(expected)));
}

}  // namespace detail

/// Writes a safetensors file up to its last byte; the caller commits it. Of `tensors`, name, dtype and shape count.
/// The data is ordered by falling element size, then as given, so that every tensor is aligned without gaps; the header
/// is padded with blanks to a multiple of 8. Equal input gives equal bytes.
/// Throws IoError; InputError for repeated names, or data of another length than announced.
[[nodiscard]] inline AtomicFile stage_safetensors(const std::filesystem::path& path, std::vector<StoredTensor> tensors,
                                                  const std::map<std::string, std::string>& metadata,
                                                  const TensorProducer& produce) {
  static_assert(std::endian::native == std::endian::little, "safetensors files are little endian");
  AtomicFile file(path);
  detail::check_tensors_to_write(tensors, file.name());
  std::vector<StoredTensor> ordered;
  for (const std::size_t bytes : {8, 4, 2, 1})
    for (StoredTensor& tensor : tensors)
      if (info(tensor.dtype).bytes == bytes) ordered.push_back(std::move(tensor));

  std::string header = "{";
  if (!metadata.empty()) header += "\"__metadata__\":" + Json(metadata).dump() + ",";
  std::uint64_t end = 0;
  for (const StoredTensor& tensor : ordered) {
    if (tensor.name == "__metadata__")
      throw InputError(file.name(), "tensor \"__metadata__\"", "found this name, expected another: it is reserved");
    const std::uint64_t begin = end;
    end += *byte_count(tensor.shape, tensor.dtype);
    try {
      header += Json(tensor.name).dump();
    } catch (const Json::exception&) {
      throw InputError(file.name(), "tensor " + quoted(tensor.name), "found a name that is not UTF-8, expected UTF-8");
    }
    header += ":{\"dtype\":\"" + std::string(info(tensor.dtype).safetensors_name) +
              "\",\"shape\":" + Json(tensor.shape).dump() + ",\"data_offsets\":[" + std::to_string(begin) + "," +
              std::to_string(end) + "]},";
  }
  if (header.back() == ',') header.pop_back();
  header += '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::uint64_t length = header.size();
  file.append(std::as_bytes(std::span(&length, 1)));
  file.append(header);
  for (const StoredTensor& tensor : ordered) detail::append_tensor(tensor, produce, file);
  return file;
}

}  // namespace lisa
