#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/safetensors_header.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/checkpoint/torch_pickle.hpp"
#include "lisa/checkpoint/zip_archive.hpp"
#include "lisa/files/file_defects.hpp"
#include "lisa/files/mapped_file.hpp"

namespace lisa {

/// Formats of files that hold tensors.
enum class TensorFileFormat { safetensors, torch_zip };

/// One mapped file and the tensors in it. Nothing of the tensors' data has been read.
struct TensorFile {
  std::shared_ptr<const MappedFile> file;
  TensorFileFormat format = TensorFileFormat::safetensors;
  std::vector<StoredTensor> tensors;            ///< in the order of the file; safetensors: of the data
  std::map<std::string, std::string> metadata;  ///< of a safetensors file
  std::vector<std::string> warnings;            ///< things that were accepted but left out, each naming the file
};

namespace detail {

/// Content that is certainly no tensor file, in words; nothing when it may be one.
[[nodiscard]] inline std::optional<std::string> foreign_content(std::string_view content) {
  if (content.empty()) return "an empty file";
  if (content.starts_with("version https://git-lfs"))
    return "a Git LFS pointer, the weights themselves were not downloaded (run `git lfs pull`)";
  const std::string_view start = content.substr(0, 256);
  const std::size_t text = start.find_first_not_of(" \t\r\n");
  const std::string_view trimmed = text == std::string_view::npos ? std::string_view() : start.substr(text);
  for (const std::string_view mark : {"<!DOCTYPE", "<!doctype", "<html", "<HTML", "<?xml", "<head"})
    if (trimmed.starts_with(mark)) return "a web page (HTML), saved in place of the weights";
  constexpr std::string_view re_save = "; re-save it with torch >= 1.6 (torch.save writes a zip archive since then)";
  // A pickled magic number, 0x1950a86a20f9469cfc6c, opens torch's format before 1.6.
  if (content.size() > 14 && content[0] == '\x80' && content.substr(2).starts_with("\x8a\x0a\x6c\xfc\x9c\x46\xf9"))
    return "torch's legacy format (not a zip archive)" + std::string(re_save);
  if (content.size() > 1 && content[0] == '\x80' && static_cast<unsigned char>(content[1]) <= 5)
    return "a bare pickle (not a zip archive)" + std::string(re_save);
  if (content.size() > 262 && content.substr(257).starts_with("ustar"))
    return "a tar archive, perhaps torch's oldest format" + std::string(re_save);
  if (content.starts_with("\x1f\x8b")) return "a gzip archive; unpack it first";
  if (content.starts_with("GGUF")) return "a GGUF file; convert it to safetensors first";
  return std::nullopt;
}

/// The folder inside a torch archive: what stands before `/data.pkl`.
[[nodiscard]] inline std::string torch_archive_folder(const std::vector<ZipMember>& members, const std::string& file) {
  std::optional<std::string> folder;
  for (const ZipMember& member : members) {
    const std::size_t slash = member.name.find('/');
    if (slash == std::string::npos || member.name.substr(slash) != "/data.pkl") continue;
    if (folder)
      throw FormatError(file, record_place(member.name), found_expected("a second data.pkl", "one per archive"));
    folder = member.name.substr(0, slash);
  }
  if (!folder)
    throw FormatError(file, "record \"data.pkl\"",
                      "found no such record, expected one as torch.save writes (is this a torch file?)");
  return *folder;
}

/// Records other than storages: the pickle, the format version and the byte order.
[[nodiscard]] inline std::string_view torch_pickle_record(std::string_view content,
                                                          const std::map<std::string_view, const ZipMember*>& records,
                                                          const std::string& folder, const std::string& file) {
  const auto text = [&](const std::string& name) -> std::optional<std::string_view> {
    const auto found = records.find(folder + "/" + name);
    if (found == records.end()) return std::nullopt;
    return content.substr(found->second->begin, found->second->size);
  };
  if (text("constants.pkl"))
    throw FormatError(file, record_place(folder + "/constants.pkl"),
                      found_expected("a TorchScript program", "a state dict saved with torch.save"));
  if (!text("version"))
    throw FormatError(file, record_place(folder + "/version"), "found no such record, expected torch's format version");
  // Archives from before torch 2.1 have no byteorder record and are little endian.
  if (const auto order = text("byteorder"); order && *order != "little")
    throw FormatError(file, record_place(folder + "/byteorder"), found_expected(quoted(*order, 20), "\"little\""));
  return *text("data.pkl");
}

/// Places a pickled tensor in the file, checking its storage against the record that holds it.
inline void place_torch_tensor(const TorchTensor& tensor, const ZipMember* record, const std::string& record_name,
                               TensorFile& result, FileDefects& defects) {
  const std::string place = tensor_place(tensor.name);
  if (record == nullptr) {
    defects.add(place, "found no record " + quoted(record_name) + ", expected it to hold the tensor's data");
    return;
  }
  const std::uint64_t item = info(tensor.dtype).bytes;
  const std::uint64_t stated = static_cast<std::uint64_t>(tensor.storage_elements) * item;
  if (record->size != stated) {
    defects.add(place, found_expected(std::to_string(record->size) + " bytes in record " + quoted(record_name),
                                      std::to_string(stated) + " for " + std::to_string(tensor.storage_elements) +
                                          " elements of torch." + std::string(info(tensor.dtype).torch_storage)));
    return;
  }
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  std::int64_t last = 0;
  for (std::size_t i = 0; i < tensor.shape.size() && !empty; ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  const std::uint64_t begin = record->begin + static_cast<std::uint64_t>(tensor.offset) * item;
  result.tensors.push_back({.name = tensor.name,
                            .dtype = tensor.dtype,
                            .shape = tensor.shape,
                            .strides = tensor.strides,
                            .begin = begin,
                            .end = empty ? begin : begin + static_cast<std::uint64_t>(last + 1) * item});
}

/// Removes the `module.` that DataParallel puts before every name.
inline void strip_parallel_prefix(TensorFile& result) {
  constexpr std::string_view prefix = "module.";
  const auto has_prefix = [&](const StoredTensor& tensor) { return tensor.name.starts_with(prefix); };
  if (result.tensors.empty() || !std::all_of(result.tensors.begin(), result.tensors.end(), has_prefix)) return;
  for (StoredTensor& tensor : result.tensors) tensor.name.erase(0, prefix.size());
  result.warnings.push_back(result.file->name() + ": every name began with \"module.\"; the prefix was removed");
}

inline void read_torch_file(TensorFile& result, bool check_crc) {
  const MappedFile& file = *result.file;
  const std::vector<ZipMember> members = read_zip_directory(file.text(), file.name());
  const std::string folder = torch_archive_folder(members, file.name());
  std::map<std::string_view, const ZipMember*> records;
  for (const ZipMember& member : members) records.emplace(member.name, &member);
  const std::string_view pickle = torch_pickle_record(file.text(), records, folder, file.name());
  if (check_crc) verify_crc(file, members);
  TorchStateDict state = parse_torch_pickle(pickle, file.name());
  for (const std::string& warning : state.warnings) result.warnings.push_back(file.name() + ": " + warning);

  FileDefects defects(file.name());
  for (const TorchTensor& tensor : state.tensors) {
    const std::string record_name = folder + "/data/" + tensor.storage;
    const auto found = records.find(record_name);
    place_torch_tensor(tensor, found == records.end() ? nullptr : found->second, record_name, result, defects);
  }
  defects.throw_if_any();
  strip_parallel_prefix(result);
}

}  // namespace detail

/// How carefully a tensor file is opened.
struct TensorFileOptions {
  /// Compare every record of a torch archive with its CRC-32, which reads the whole file once.
  bool verify_crc = true;
};

/// Opens a safetensors file or a torch archive (told apart by content, not by name) and checks everything but the
/// tensors' values. Throws IoError (no readable regular file, truncated meanwhile), FormatError (content), LimitError.
[[nodiscard]] inline TensorFile open_tensor_file(const std::filesystem::path& path,
                                                 const TensorFileOptions& options = {}) {
  TensorFile result;
  result.file = std::make_shared<const MappedFile>(path, MappedAccess::copy_on_write);
  const std::string_view content = result.file->text();
  if (const std::optional<std::string> foreign = detail::foreign_content(content))
    throw FormatError(result.file->name(), "", found_expected(*foreign, "a safetensors file or a torch archive"));
  if (content.starts_with("PK\x03\x04") || content.starts_with("PK\x05\x06")) {
    result.format = TensorFileFormat::torch_zip;
    detail::read_torch_file(result, options.verify_crc);
  } else {
    SafetensorsHeader header = parse_safetensors_header(content, result.file->name());
    result.tensors = std::move(header.tensors);
    result.metadata = std::move(header.metadata);
  }
  result.file->require_intact();
  return result;
}

}  // namespace lisa
