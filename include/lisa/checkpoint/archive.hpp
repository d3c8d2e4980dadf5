#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/checkpoint_folder.hpp"
#include "lisa/checkpoint/finite.hpp"
#include "lisa/checkpoint/tensor_file.hpp"
#include "lisa/checkpoint/tensor_view.hpp"

namespace lisa {

/// A tensor of a checkpoint and the file it came from (as shown in messages).
struct ArchivedTensor {
  at::Tensor value;
  std::string file;
};

/// The tensors of a checkpoint by name, in the order of their names. The values are views of mapped files.
struct TensorArchive {
  std::map<std::string, ArchivedTensor> tensors;
  std::map<std::string, std::string> metadata;           ///< of the safetensors files
  std::vector<std::string> warnings;                     ///< things that were accepted; for the user to know
  std::vector<std::shared_ptr<const MappedFile>> files;  ///< in the order they were read

  /// Throws IoError naming the file when one of the mapped files was truncated since (needs a TruncationGuard).
  void require_intact() const {
    for (const auto& file : files) file->require_intact();
  }
};

/// How a checkpoint is read.
struct ArchiveOptions {
  /// Compare every record of torch archives with its CRC-32; reads all of their bytes once.
  bool verify_crc = true;
  /// Refuse NaN and infinite values; reads all floating-point data once.
  bool check_finite = false;
};

/// Reads the tensors of a checkpoint: a safetensors file or torch archive, or a folder that holds one, whole or in
/// shards (see `find_checkpoint_files` for the names and which one is taken when there are several).
/// Nothing is copied; dtypes stay as stored. Throws IoError, FormatError, LimitError.
[[nodiscard]] inline TensorArchive read_archive(const std::filesystem::path& path, const ArchiveOptions& options = {}) {
  CheckpointContent content = open_checkpoint(path, {.verify_crc = options.verify_crc});
  TensorArchive archive;
  archive.warnings = std::move(content.warnings);
  for (const TensorFile& file : content.files) {
    archive.files.push_back(file.file);
    archive.metadata.insert(file.metadata.begin(), file.metadata.end());
    for (const StoredTensor& tensor : file.tensors)
      archive.tensors.emplace(tensor.name, ArchivedTensor{tensor_view(file.file, tensor), file.file->name()});
    if (options.check_finite) require_finite(file);
  }
  archive.require_intact();
  return archive;
}

}  // namespace lisa
