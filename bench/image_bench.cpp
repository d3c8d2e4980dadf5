// Pictures in and out: decoding, preprocessing, masks; beside preprocessing, plain ATen with its own resampling, which
// is near Pillow's and not equal to it. bench/compare/preprocess.py and mask_output.py measure Pillow and PyTorch on
// the same sizes. OMP_NUM_THREADS sets the number of threads.

#include <ATen/ops/_upsample_bicubic2d_aa.h>
#include <ATen/ops/_upsample_bilinear2d_aa.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>
#include <benchmark/benchmark.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "lisa/image/encode_png.hpp"
#include "lisa/image/mask.hpp"
#include "lisa/image/overlay.hpp"
#include "lisa/image/polygon.hpp"
#include "lisa/image/preprocess.hpp"
#include "lisa/image/read_image.hpp"
#include "lisa/image/rle.hpp"

namespace {

using namespace lisa;

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"width", "height"})->Args({640, 480})->Args({1920, 1080})->Args({3840, 2160});
  bench->Unit(benchmark::kMillisecond)->UseRealTime();
}

ImageSize size_of(const benchmark::State& state) {
  return {static_cast<int>(state.range(1)), static_cast<int>(state.range(0))};
}

/// Smooth waves with noise: compresses about as a photograph does.
Image photo(ImageSize size) {
  Image image = make_image(size);
  std::mt19937 random(1);
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x)
      for (int c = 0; c < 3; ++c) {
        const double wave = 127 + 70 * std::sin(x / (41.0 + c)) + 40 * std::cos(y / (29.0 + c));
        image.row(y)[x * 3 + c] = static_cast<std::uint8_t>(wave + static_cast<int>(random() % 9));
      }
  return image;
}

/// Logits of a few soft discs.
std::vector<float> logits(ImageSize size) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width));
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x)
      values.push_back(static_cast<float>(std::sin(x * 9.0 / size.width) * std::cos(y * 7.0 / size.height) - 0.4));
  return values;
}

void count_pixels(benchmark::State& state) {
  state.counters["Mpx/s"] = benchmark::Counter(static_cast<double>(state.range(0) * state.range(1)) * 1e-6,
                                               benchmark::Counter::kIsIterationInvariantRate);
}

void decode_png_file(benchmark::State& state) {
  const std::vector<std::uint8_t> file = encode_png(photo(size_of(state)));
  for (auto _ : state) benchmark::DoNotOptimize(decode_image(file, "bench.png"));
  count_pixels(state);
}
BENCHMARK(decode_png_file)->Apply(sizes);

/// A baseline JPEG of quality 90 with halved chroma, as cameras write it.
std::vector<std::uint8_t> jpeg_file(Image image) {
  jpeg_compress_struct writer{};
  jpeg_error_mgr errors{};
  writer.err = jpeg_std_error(&errors);
  jpeg_create_compress(&writer);
  unsigned char* data = nullptr;
  unsigned long bytes = 0;
  jpeg_mem_dest(&writer, &data, &bytes);
  writer.image_width = static_cast<JDIMENSION>(image.width);
  writer.image_height = static_cast<JDIMENSION>(image.height);
  writer.input_components = 3;
  writer.in_color_space = JCS_RGB;
  jpeg_set_defaults(&writer);
  jpeg_set_quality(&writer, 90, TRUE);
  jpeg_start_compress(&writer, TRUE);
  for (int y = 0; y < image.height; ++y) {
    JSAMPROW row = image.row(y);
    jpeg_write_scanlines(&writer, &row, 1);
  }
  jpeg_finish_compress(&writer);
  jpeg_destroy_compress(&writer);
  std::vector<std::uint8_t> file(data, data + bytes);
  std::free(data);
  return file;
}

void decode_jpeg_file(benchmark::State& state) {
  const std::vector<std::uint8_t> file = jpeg_file(photo(size_of(state)));
  for (auto _ : state) benchmark::DoNotOptimize(decode_image(file, "bench.jpg"));
  count_pixels(state);
}
BENCHMARK(decode_jpeg_file)->Apply(sizes);

void write_png_picture(benchmark::State& state) {
  const Image image = photo(size_of(state));
  std::size_t bytes = 0;
  for (auto _ : state) bytes = encode_png(image).size();
  state.counters["file_bytes"] = static_cast<double>(bytes);
  count_pixels(state);
}
BENCHMARK(write_png_picture)->Apply(sizes);

/// Bytes of the picture and of the `side` x `side` floats of each channel that become of it.
void count_preprocessed(benchmark::State& state, std::int64_t side) {
  const std::int64_t bytes = 3 * state.range(0) * state.range(1) + 3 * side * side * 4;
  state.counters["GB/s"] =
      benchmark::Counter(static_cast<double>(bytes) * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  count_pixels(state);
}

void sam_preprocess(benchmark::State& state) {
  const Image image = photo(size_of(state));
  const SamPreprocess config;
  std::vector<float> out(3 * 1024 * 1024);
  for (auto _ : state) {
    const SamPixels pixels = sam_pixels(image, config);
    normalize_planes(pixels.resized, level_table(config), config.side, out.data());
    benchmark::ClobberMemory();
  }
  count_preprocessed(state, config.side);
}
BENCHMARK(sam_preprocess)->Apply(sizes);

/// The picture as ATen's resampling takes it: [1, 3, H, W] whose memory lies [1, H, W, 3].
at::Tensor as_tensor(Image& image) {
  return at::from_blob(image.pixels.data(), {1, image.height, image.width, 3}, at::kByte).permute({0, 3, 1, 2});
}

/// One number for each channel, [3, 1, 1].
template <class Channels>
at::Tensor per_channel(const Channels& channels) {
  return at::tensor(at::ArrayRef<float>(channels.data(), channels.size())).view({3, 1, 1});
}

void sam_preprocess_plain(benchmark::State& state) {
  const c10::InferenceMode inference;
  Image image = photo(size_of(state));
  const SamPreprocess config;
  const at::Tensor pixels = as_tensor(image), mean = per_channel(config.mean), deviation = per_channel(config.std);
  const ImageSize size = longest_side_size(image.size(), config.side);
  for (auto _ : state) {
    const at::Tensor resized = at::_upsample_bilinear2d_aa(pixels, {size.height, size.width}, false);
    const at::Tensor normal = resized.to(at::kFloat).sub(mean).div(deviation);
    benchmark::DoNotOptimize(
        at::constant_pad_nd(normal, {0, config.side - size.width, 0, config.side - size.height}).contiguous());
  }
  count_preprocessed(state, config.side);
}
BENCHMARK(sam_preprocess_plain)->Apply(sizes);

void sam_resize(benchmark::State& state) {
  const Image image = photo(size_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(sam_pixels(image));
  count_pixels(state);
}
BENCHMARK(sam_resize)->Apply(sizes);

void clip_preprocess(benchmark::State& state) {
  const Image image = photo(size_of(state));
  const ClipPreprocess config;
  std::vector<float> out(3 * 224 * 224);
  for (auto _ : state) {
    normalize_planes(clip_pixels(image, config), level_table(config), config.crop, out.data());
    benchmark::ClobberMemory();
  }
  count_preprocessed(state, config.crop);
}
BENCHMARK(clip_preprocess)->Apply(sizes);

void clip_preprocess_plain(benchmark::State& state) {
  const c10::InferenceMode inference;
  Image image = photo(size_of(state));
  const ClipPreprocess config;
  const at::Tensor pixels = as_tensor(image), mean = per_channel(config.mean), deviation = per_channel(config.std);
  const ImageSize size = shortest_edge_size(image.size(), config.shortest_edge);
  for (auto _ : state) {
    const at::Tensor resized = at::_upsample_bicubic2d_aa(pixels, {size.height, size.width}, false);
    const at::Tensor crop = resized.narrow(2, (size.height - config.crop) / 2, config.crop)
                                .narrow(3, (size.width - config.crop) / 2, config.crop);
    benchmark::DoNotOptimize(crop.to(at::kFloat).mul(config.rescale_factor).sub(mean).div(deviation).contiguous());
  }
  count_preprocessed(state, config.crop);
}
BENCHMARK(clip_preprocess_plain)->Apply(sizes);

void mask_of_logits(benchmark::State& state) {
  const ImageSize size = size_of(state);
  const std::vector<float> values = logits(size);
  for (auto _ : state) benchmark::DoNotOptimize(mask_from_logits(values.data(), size));
  count_pixels(state);
}
BENCHMARK(mask_of_logits)->Apply(sizes);

void mask_rle(benchmark::State& state) {
  const BitMask mask = mask_from_logits(logits(size_of(state)).data(), size_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(compressed_counts(encode_rle(mask)));
  count_pixels(state);
}
BENCHMARK(mask_rle)->Apply(sizes);

void mask_outlines(benchmark::State& state) {
  const BitMask mask = mask_from_logits(logits(size_of(state)).data(), size_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(mask_polygons(mask));
  count_pixels(state);
}
BENCHMARK(mask_outlines)->Apply(sizes);

void mask_png(benchmark::State& state) {
  const BitMask mask = mask_from_logits(logits(size_of(state)).data(), size_of(state));
  for (auto _ : state) benchmark::DoNotOptimize(encode_png(mask));
  count_pixels(state);
}
BENCHMARK(mask_png)->Apply(sizes);

void overlay(benchmark::State& state) {
  const Image image = photo(size_of(state));
  const BitMask mask = mask_from_logits(logits(size_of(state)).data(), size_of(state));
  const std::vector<OverlayItem> items(3, {&mask, "the object that holds the hot drink", 0.9});
  for (auto _ : state) benchmark::DoNotOptimize(draw_overlay(image, items));
  count_pixels(state);
}
BENCHMARK(overlay)->Apply(sizes);

}  // namespace
