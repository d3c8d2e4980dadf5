#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "lisa/checkpoint/stored_dtype.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// A tensor over the mapped bytes, which stay mapped as long as the tensor lives. No data is copied, unless the file
/// places it at an address that its element type cannot have (safetensors files with a header of odd length).
/// `file` must be mapped copy-on-write: in-place operations then change this process' pages, never the file.
[[nodiscard]] inline at::Tensor tensor_view(const std::shared_ptr<const MappedFile>& file, const StoredTensor& stored) {
  const at::TensorOptions options = at::TensorOptions().dtype(scalar_type(stored.dtype));
  std::vector<std::int64_t> strides = stored.strides;
  if (strides.empty()) {
    strides.assign(stored.shape.size(), 1);
    for (std::size_t i = strides.size(); i-- > 1;)
      strides[i - 1] = strides[i] * std::max<std::int64_t>(stored.shape[i], 1);
  }
  std::byte* const data = file->data() + stored.begin;
  if (reinterpret_cast<std::uintptr_t>(data) % info(stored.dtype).bytes == 0)
    return at::from_blob(data, stored.shape, strides, [file](void*) {}, options);
  const std::uint64_t size = stored.end - stored.begin;
  const std::shared_ptr<std::byte[]> copy(new std::byte[size]);
  std::memcpy(copy.get(), data, size);
  return at::from_blob(copy.get(), stored.shape, strides, [copy](void*) {}, options);
}

}  // namespace lisa
