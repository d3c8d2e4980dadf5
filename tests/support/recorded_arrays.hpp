#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace lisa::test {

/// One array of a recorded .safetensors file, without libtorch.
struct RecordedArray {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::uint8_t> bytes;

  /// The elements as `T`, whose size must be that of `dtype`.
  template <class T>
  [[nodiscard]] std::vector<T> as() const {
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
};

inline std::vector<std::uint8_t> file_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("test data missing: " + path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// All arrays of a trusted recorded file, by name.
inline std::map<std::string, RecordedArray> recorded_arrays(const std::string& path) {
  const std::vector<std::uint8_t> file = file_bytes(path);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  const auto begin = file.begin() + 8 + static_cast<std::ptrdiff_t>(header_bytes);
  std::map<std::string, RecordedArray> arrays;
  const auto header = nlohmann::json::parse(file.begin() + 8, begin);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const auto& offsets = entry.at("data_offsets");
    arrays[name] = {entry.at("dtype"),
                    entry.at("shape"),
                    {begin + offsets.at(0).get<std::ptrdiff_t>(), begin + offsets.at(1).get<std::ptrdiff_t>()}};
  }
  return arrays;
}

}  // namespace lisa::test
