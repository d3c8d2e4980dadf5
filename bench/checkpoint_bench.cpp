// Opening a checkpoint from a warm page cache: the tensors of a 7B LISA's blocks in bf16, random, in shards.
// LISA_BENCH_CHECKPOINT_BYTES sets the size (default 2 GB; 13.5e9 is the published 7B). Counters: bytes of checkpoint
// per second, and peak anonymous memory that opening added.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/sharded_writer.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using lisa::StoredTensor;
using lisa::TensorFileFormat;

double checkpoint_bytes() {
  const char* const wanted = std::getenv("LISA_BENCH_CHECKPOINT_BYTES");
  return wanted == nullptr ? 2e9 : std::strtod(wanted, nullptr);
}

/// Tensors of LLaMA-7B blocks until the size is reached.
std::vector<StoredTensor> block_tensors() {
  std::vector<StoredTensor> tensors;
  double bytes = 0;
  for (int layer = 0; bytes < checkpoint_bytes(); ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
      tensors.push_back({.name = prefix + name, .dtype = lisa::StoredDtype::bf16, .shape = std::move(shape)});
      bytes += static_cast<double>(*lisa::byte_count(tensors.back().shape, lisa::StoredDtype::bf16));
    };
    for (const std::string name : {"q_proj", "k_proj", "v_proj", "o_proj"})
      add("self_attn." + name + ".weight", {4096, 4096});
    for (const std::string name : {"gate_proj", "up_proj"}) add("mlp." + name + ".weight", {11008, 4096});
    add("mlp.down_proj.weight", {4096, 11008});
    add("input_layernorm.weight", {4096});
    add("post_attention_layernorm.weight", {4096});
  }
  return tensors;
}

/// Anonymous memory of this process in bytes, now.
double anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "RssAnon:") {
      double kib = 0;
      status >> kib;
      return kib * 1024;
    }
  return 0;
}

/// A checkpoint folder, written once per format and left in the page cache.
const std::filesystem::path& checkpoint(TensorFileFormat format) {
  static const lisa::test::TempDir root;
  const auto write = [](const std::filesystem::path& folder, TensorFileFormat written) {
    std::filesystem::create_directory(folder);
    std::mt19937_64 random(7);
    std::vector<std::uint64_t> noise(1 << 20);
    for (std::uint64_t& bits : noise) bits = random();
    const auto produce = [&](const StoredTensor& tensor, const lisa::ByteSink& sink) {
      std::uint64_t left = *lisa::byte_count(tensor.shape, tensor.dtype);
      while (left > 0) {
        noise[left % noise.size()] = random();
        const auto piece = std::as_bytes(std::span(noise)).first(std::min<std::uint64_t>(left, noise.size() * 8));
        sink(piece);
        left -= piece.size();
      }
    };
    lisa::write_sharded(folder, block_tensors(), written, 5'000'000'000, produce);
    return folder;
  };
  if (format == TensorFileFormat::torch_zip) {
    static const std::filesystem::path folder = write(root / "bin", format);
    return folder;
  }
  static const std::filesystem::path folder = write(root / "safetensors", format);
  return folder;
}

double folder_bytes(const std::filesystem::path& folder) {
  double bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) bytes += static_cast<double>(entry.file_size());
  return bytes;
}

void read_checkpoint(benchmark::State& state, TensorFileFormat format, const lisa::ArchiveOptions& options) {
  const std::filesystem::path& folder = checkpoint(format);
  double anonymous = 0;
  for (auto _ : state) {
    const double before = anonymous_bytes();
    const lisa::TensorArchive archive = lisa::read_archive(folder, options);
    benchmark::DoNotOptimize(archive.tensors.size());
    anonymous = std::max(anonymous, anonymous_bytes() - before);
  }
  state.counters["bytes/s"] =
      benchmark::Counter(folder_bytes(folder) * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  state.counters["anonymous_MB"] = anonymous / 1e6;
}

/// For scale: the same files by read(2) into one buffer.
void plain_read(benchmark::State& state) {
  const std::filesystem::path& folder = checkpoint(TensorFileFormat::torch_zip);
  std::vector<std::byte> buffer(16 << 20);
  for (auto _ : state)
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const lisa::OpenedFile file = lisa::open_regular_file(entry.path());
      while (::read(file.descriptor.get(), buffer.data(), buffer.size()) > 0) benchmark::DoNotOptimize(buffer.data());
    }
  state.counters["bytes/s"] =
      benchmark::Counter(folder_bytes(folder) * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

BENCHMARK_CAPTURE(read_checkpoint, torch_with_crc, TensorFileFormat::torch_zip, lisa::ArchiveOptions{})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(read_checkpoint, torch_without_crc, TensorFileFormat::torch_zip,
                  lisa::ArchiveOptions{.verify_crc = false})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(plain_read)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(read_checkpoint, safetensors, TensorFileFormat::safetensors, lisa::ArchiveOptions{})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
}  // namespace
