#pragma once

#include <libdeflate.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/checkpoint/safetensors_writer.hpp"
#include "lisa/checkpoint/stored_tensor.hpp"
#include "lisa/checkpoint/zip_archive.hpp"
#include "lisa/files/atomic_write.hpp"
#include "lisa/files/byte_string.hpp"

namespace lisa {

namespace detail {

/// Writes the pickle (protocol 2) of a state dict: name -> dense tensor, storage i for tensor i.
class TorchPickler {
 public:
  [[nodiscard]] std::string state_dict(const std::vector<StoredTensor>& tensors) {
    out_.text("\x80\x02}(");
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      string(tensors[i].name);
      tensor(tensors[i], i);
    }
    out_.text("u.");
    return out_.str();
  }

 private:
  void string(std::string_view text) { out_.text("X").u32(text.size()).text(text); }

  void integer(std::int64_t value) {
    if (value >= 0 && value < 256)
      out_.text("K").u8(static_cast<std::uint64_t>(value));
    else if (value >= 0 && value <= std::numeric_limits<std::int32_t>::max())
      out_.text("J").u32(static_cast<std::uint64_t>(value));
    else
      out_.text("\x8a\x08").put(value);
  }

  void integers(const std::vector<std::int64_t>& values) {
    out_.text("(");
    for (const std::int64_t value : values) integer(value);
    out_.text("t");
  }

  void tensor(const StoredTensor& tensor, std::size_t storage) {
    const std::int64_t elements = *element_count(tensor.shape);
    out_.text("ctorch._utils\n_rebuild_tensor_v2\n((");
    string("storage");
    out_.text("ctorch\n").text(info(tensor.dtype).torch_storage).text("\n");
    string(std::to_string(storage));
    string("cpu");
    integer(elements);
    out_.text("tQ");
    integer(0);
    integers(tensor.shape);
    std::vector<std::int64_t> strides(tensor.shape.size(), 1);
    for (std::size_t i = strides.size(); i-- > 1;)
      strides[i - 1] = strides[i] * std::max<std::int64_t>(tensor.shape[i], 1);
    integers(strides);
    out_.text(
        "\x89"
        "ccollections\nOrderedDict\n)RtR");
  }

  ByteString out_;
};

/// Writes stored records one after another as torch does: data at multiples of 64 bytes, sizes and CRC after the data
/// (it is not known before), zip64 where values demand it.
class TorchZipWriter {
 public:
  TorchZipWriter(AtomicFile& file, std::string folder) : file_(file), folder_(std::move(folder)) {}

  /// `write` gives the record's bytes to the sink.
  void add(const std::string& name, std::uint64_t size, const std::function<void(const ByteSink&)>& write) {
    Record record{.name = folder_ + "/" + name, .size = size, .header = file_.size(), .crc = 0};
    const std::uint64_t unpadded = record.header + zip_local_size + record.name.size() + 4;
    const std::uint64_t padding = (64 - unpadded % 64) % 64;
    file_.append(ByteString()
                     .u32(zip_local_signature)
                     .u16(0)
                     .u16(flags)
                     .u16(0)
                     .u32(0)
                     .u32(0)
                     .u32(0)
                     .u32(0)
                     .u16(record.name.size())
                     .u16(4 + padding)
                     .text(record.name)
                     .text("FB")
                     .u16(padding)
                     .text(std::string(padding, 'Z'))
                     .str());
    write([&](std::span<const std::byte> bytes) {
      record.crc = libdeflate_crc32(record.crc, bytes.data(), bytes.size());
    });
    ByteString descriptor;
    descriptor.u32(zip_descriptor_signature).u32(record.crc);
    if (wide(record))
      descriptor.u64(size).u64(size);
    else
      descriptor.u32(size).u32(size);
    file_.append(descriptor.str());
    records_.push_back(std::move(record));
  }

  void add(const std::string& name, std::string_view text) {
    add(name, text.size(), [&](const ByteSink& checksum) {
      const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
      checksum(bytes);
      file_.append(bytes);
    });
  }

  void finish() {
    const std::uint64_t begin = file_.size();
    for (const Record& record : records_) central_entry(record);
    const std::uint64_t size = file_.size() - begin;
    const std::uint64_t end = file_.size();
    file_.append(ByteString()
                     .u32(zip64_end_signature)
                     .u64(zip64_end_size - 12)
                     .u16(0x031e)
                     .u16(45)
                     .u32(0)
                     .u32(0)
                     .u64(records_.size())
                     .u64(records_.size())
                     .u64(size)
                     .u64(begin)
                     .u32(zip64_locator_signature)
                     .u32(0)
                     .u64(end)
                     .u32(1)
                     .u32(zip_end_signature)
                     .u16(0)
                     .u16(0)
                     .u16(std::min<std::uint64_t>(records_.size(), 0xFFFF))
                     .u16(std::min<std::uint64_t>(records_.size(), 0xFFFF))
                     .u32(std::min<std::uint64_t>(size, zip_saturated))
                     .u32(std::min<std::uint64_t>(begin, zip_saturated))
                     .u16(0)
                     .str());
  }

 private:
  static constexpr std::uint64_t flags = 0x0808;  // sizes follow the data; names are UTF-8

  struct Record {
    std::string name;
    std::uint64_t size;
    std::uint64_t header;
    std::uint32_t crc;
  };

  [[nodiscard]] static bool wide(const Record& record) {
    return record.size >= zip_saturated || record.header >= zip_saturated;
  }

  void central_entry(const Record& record) {
    ByteString extra;
    if (wide(record)) {
      ByteString values;
      if (record.size >= zip_saturated) values.u64(record.size).u64(record.size);
      if (record.header >= zip_saturated) values.u64(record.header);
      extra.u16(1).u16(values.str().size()).text(values.str());
    }
    const std::uint64_t size = std::min<std::uint64_t>(record.size, zip_saturated);
    file_.append(ByteString()
                     .u32(zip_central_signature)
                     .u16(0)
                     .u16(0)
                     .u16(flags)
                     .u16(0)
                     .u32(0)
                     .u32(record.crc)
                     .u32(size)
                     .u32(size)
                     .u16(record.name.size())
                     .u16(extra.str().size())
                     .u16(0)
                     .u16(0)
                     .u16(0)
                     .u32(0)
                     .u32(std::min<std::uint64_t>(record.header, zip_saturated))
                     .text(record.name)
                     .text(extra.str())
                     .str());
  }

  AtomicFile& file_;
  std::string folder_;
  std::vector<Record> records_;
};

}  // namespace detail

/// Writes a torch archive (what `torch.save(state_dict)` makes) up to its last byte; the caller commits it. Of
/// `tensors`, name, dtype and shape count; every tensor gets a storage of its own, in the given order. Equal input
/// gives equal bytes. Throws IoError; InputError for repeated names, or data of another length than announced.
[[nodiscard]] inline AtomicFile stage_torch_file(const std::filesystem::path& path,
                                                 const std::vector<StoredTensor>& tensors,
                                                 const TensorProducer& produce) {
  AtomicFile file(path);
  detail::check_tensors_to_write(tensors, file.name());
  detail::TorchZipWriter zip(file, "archive");
  zip.add("data.pkl", detail::TorchPickler().state_dict(tensors));
  zip.add("byteorder", "little");
  for (std::size_t i = 0; i < tensors.size(); ++i)
    zip.add("data/" + std::to_string(i), *byte_count(tensors[i].shape, tensors[i].dtype),
            [&](const ByteSink& checksum) { detail::append_tensor(tensors[i], produce, file, checksum); });
  zip.add("version", "3\n");
  zip.finish();
  return file;
}

}  // namespace lisa
