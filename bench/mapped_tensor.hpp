#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>

#include "lisa/files/mapped_file.hpp"

namespace lisa::bench {

/// The tensor's values in a mapped file, as the weights of a loaded checkpoint lie: on many systems in large pages,
/// where an allocation has pages of 4 KiB and a loop that reads a matrix once can lose a fifth of its time to finding
/// them. The file is in the folder for temporary files and has no name any more when this returns.
/// @throws std::runtime_error when it cannot be written
[[nodiscard]] inline at::Tensor mapped(const at::Tensor& tensor) {
  const at::Tensor values = tensor.contiguous();
  std::string path = (std::filesystem::temp_directory_path() / "lisa-bench-XXXXXX").string();
  const int descriptor = ::mkstemp(path.data());
  if (descriptor < 0) throw std::runtime_error(path + ": cannot be made");
  ::close(descriptor);
  const auto bytes = static_cast<std::streamsize>(values.nbytes());
  std::ofstream file(path, std::ios::binary);
  // In one call: the system chooses the size of pages by the size of what is written.
  file.rdbuf()->sputn(static_cast<const char*>(values.const_data_ptr()), bytes);
  file.close();
  const auto mapping = std::make_shared<MappedFile>(path, MappedAccess::copy_on_write);
  std::filesystem::remove(path);
  if (!file || mapping->size() != values.nbytes()) throw std::runtime_error(path + ": cannot be written");
  mapping->populate(0, mapping->size());
  return at::from_blob(mapping->data(), values.sizes(), [mapping](void*) {}, values.options());
}

}  // namespace lisa::bench
