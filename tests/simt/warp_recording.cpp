#include "warp_recording.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <stdexcept>

#include "device.hpp"
#include "element_values.hpp"

namespace simt {

namespace {

/// Calls a twin: `operands(lane)` are a lane's.
template <class Operands>
void apply(void (*twin)(const WarpOperands&), const Operands& operands) {
  WarpOperands lanes{};
  for (std::size_t lane = 0; lane < warp_lanes; ++lane) {
    lanes[lane] = operands(lane);
    lanes[lane].apply = twin;
  }
  twin(lanes);
}

/// Lanes in which a result differs. @param of the address of a lane's result, `bytes` long
template <class Of>
WarpDifference moved(const char* operation, const WarpRecording& found, const WarpRecording& expected,
                     std::size_t bytes, Of of) {
  int lanes = 0;
  for (std::size_t lane = 0; lane < warp_lanes; ++lane)
    lanes += std::memcmp(of(found.out[lane]), of(expected.out[lane]), bytes) != 0;
  return {operation, static_cast<double>(lanes), 0.0};
}

float largest_half(const std::uint32_t* words, std::size_t count, float (*wide)(std::uint16_t)) {
  float largest = 0;
  for (std::size_t i = 0; i < count; ++i)
    for (const std::uint32_t bits : {words[i] & 0xFFFF, words[i] >> 16})
      largest = std::max(largest, std::fabs(wide(static_cast<std::uint16_t>(bits))));
  return largest;
}

/// A sum of 17 numbers in fp32: the twin rounds each addition to nearest, a tensor core may cut off, in any order. No
/// partial sum exceeds 16 products of the largest operands and the largest addend.
WarpDifference product(const char* operation, const WarpRecording& found, const WarpRecording& expected,
                       const float (WarpOutput::*sums)[4], float (*wide)(std::uint16_t)) {
  float left = 0, right = 0, addend = 0;
  double error = 0;
  for (std::size_t lane = 0; lane < warp_lanes; ++lane) {
    left = std::max(left, largest_half(found.in[lane].left, 4, wide));
    right = std::max(right, largest_half(found.in[lane].right, 2, wide));
    for (std::size_t i = 0; i < 4; ++i) {
      addend = std::max(addend, std::fabs(found.in[lane].sum[i]));
      error = worse(std::fabs(double{(found.out[lane].*sums)[i]} - double{(expected.out[lane].*sums)[i]}), error);
    }
  }
  return {operation, error, 17 * (0x1p-23 + 0x1p-24) * (16.0 * left * right + addend)};
}

constexpr std::size_t lane_words = (sizeof(WarpInput) + sizeof(WarpOutput)) / sizeof(std::uint32_t);
using LaneWords = std::array<std::uint32_t, lane_words>;

[[noreturn]] void refuse(const std::string& path, std::size_t line, const std::string& what) {
  throw std::runtime_error(path + ": line " + std::to_string(line) + ": " + what);
}

LaneWords parse_lane(const std::string& path, std::size_t lane, const std::string& text) {
  const std::size_t line = lane + 2;
  std::istringstream words(text);
  std::size_t number = warp_lanes;
  if (!(words >> number) || number != lane) refuse(path, line, "expected lane " + std::to_string(lane));
  const std::vector<std::string> all{std::istream_iterator<std::string>(words), {}};
  if (all.size() != lane_words)
    refuse(path, line, "expected " + std::to_string(lane_words) + " words behind the lane's number");
  LaneWords result{};
  for (std::size_t i = 0; i < lane_words; ++i) {
    const char* const last = all[i].data() + all[i].size();
    const auto [end, error] = std::from_chars(all[i].data(), last, result[i], 16);
    if (error != std::errc{} || end != last || all[i].size() != 8)
      refuse(path, line, "found \"" + all[i] + "\", expected eight hexadecimal digits");
  }
  return result;
}

}  // namespace

WarpRecording random_operands() {
  WarpRecording recording{};
  std::mt19937 random(11);
  const auto halves = [&](bool numbers) {
    const auto half = [&] {
      // Sign, exponent of 1/4 to 2 in fp16 and a random fraction: in bf16 the same bits are 2^-17 to 2^-1 or so.
      return static_cast<std::uint32_t>(numbers ? (random() & 0x83FF) | (13 + random() % 3) << 10 : random() & 0xFFFF);
    };
    const std::uint32_t low = half();
    return low | half() << 16;
  };
  for (WarpInput& lane : recording.in) {
    for (std::uint32_t& word : lane.row) word = halves(false);
    for (std::uint32_t& word : lane.left) word = halves(true);
    for (std::uint32_t& word : lane.right) word = halves(true);
    for (float& sum : lane.sum) sum = static_cast<float>(random() % 1024) / 512.0F - 1.0F;
    lane.value = static_cast<std::uint32_t>(random());
  }
  return recording;
}

void run_twins(WarpRecording& recording) {
  const auto& in = recording.in;
  auto& out = recording.out;
  recording.origin = "the emulator";
  apply(exchange_matrix_rows,
        [&](std::size_t l) { return LaneOperands{in[l].row, nullptr, out[l].matrix, 0, 0, nullptr}; });
  apply(exchange_matrix_rows,
        [&](std::size_t l) { return LaneOperands{in[l].row, nullptr, out[l].transposed, 1, 0, nullptr}; });
  const auto multiply = [&](void (*twin)(const WarpOperands&), float(WarpOutput::* sums)[4]) {
    apply(twin, [&](std::size_t l) {
      std::copy(std::begin(in[l].sum), std::end(in[l].sum), std::begin(out[l].*sums));
      return LaneOperands{in[l].left, in[l].right, out[l].*sums, 0, 0, nullptr};
    });
  };
  multiply(multiply_bf16_fragments, &WarpOutput::bf16);
  multiply(multiply_fp16_fragments, &WarpOutput::fp16);
  const auto shuffle = [&](ShuffleKind kind, int operand, std::uint32_t WarpOutput::* result) {
    apply(shuffle_lanes, [&](std::size_t l) {
      return LaneOperands{&in[l].value, nullptr, &(out[l].*result), static_cast<int>(kind), operand, nullptr};
    });
  };
  shuffle(ShuffleKind::index, 5, &WarpOutput::from_lane_5);
  shuffle(ShuffleKind::up, 2, &WarpOutput::from_two_below);
  shuffle(ShuffleKind::exclusive_or, 9, &WarpOutput::from_lane_xor_9);
  apply(ballot_lanes, [&](std::size_t l) {
    return LaneOperands{nullptr, nullptr, &out[l].ballot, 0, static_cast<int>(in[l].value & 1), nullptr};
  });
}

std::vector<WarpDifference> differences(const WarpRecording& found) {
  WarpRecording expected = found;
  run_twins(expected);
  constexpr std::size_t four = 4 * sizeof(std::uint32_t), one = sizeof(std::uint32_t);
  return {
      moved("ldmatrix", found, expected, four, [](const WarpOutput& o) { return o.matrix; }),
      moved("ldmatrix, transposed", found, expected, four, [](const WarpOutput& o) { return o.transposed; }),
      moved("shuffle", found, expected, one, [](const WarpOutput& o) { return &o.from_lane_5; }),
      moved("shuffle up", found, expected, one, [](const WarpOutput& o) { return &o.from_two_below; }),
      moved("shuffle xor", found, expected, one, [](const WarpOutput& o) { return &o.from_lane_xor_9; }),
      moved("ballot", found, expected, one, [](const WarpOutput& o) { return &o.ballot; }),
      product("mma.m16n8k16, bf16", found, expected, &WarpOutput::bf16, from_bf16),
      product("mma.m16n8k16, fp16", found, expected, &WarpOutput::fp16, from_fp16),
  };
}

void write_recording(const std::string& path, const WarpRecording& recording) {
  std::ostringstream text;
  text << recording.origin << '\n' << std::hex;
  text.fill('0');
  for (std::size_t lane = 0; lane < warp_lanes; ++lane) {
    LaneWords words;
    std::memcpy(words.data(), &recording.in[lane], sizeof(WarpInput));
    std::memcpy(words.data() + sizeof(WarpInput) / sizeof(std::uint32_t), &recording.out[lane], sizeof(WarpOutput));
    text << std::dec << lane << std::hex;
    for (const std::uint32_t word : words) {
      text << ' ';
      text.width(8);
      text << word;
    }
    text << '\n';
  }
  std::ofstream file(path);
  file << text.str();
  file.close();
  if (!file) throw std::runtime_error(path + ": cannot be written");
}

WarpRecording read_recording(const std::string& path) {
  std::ifstream file(path);
  WarpRecording recording{};
  if (!file || !std::getline(file, recording.origin))
    throw std::runtime_error(path + ": cannot be read, or has no first line");
  std::string line;
  for (std::size_t lane = 0; lane < warp_lanes; ++lane) {
    if (!std::getline(file, line)) refuse(path, lane + 2, "expected lane " + std::to_string(lane));
    const LaneWords words = parse_lane(path, lane, line);
    std::memcpy(&recording.in[lane], words.data(), sizeof(WarpInput));
    std::memcpy(&recording.out[lane], words.data() + sizeof(WarpInput) / sizeof(std::uint32_t), sizeof(WarpOutput));
  }
  if (std::getline(file, line)) refuse(path, warp_lanes + 2, "expected the end of the file");
  return recording;
}

}  // namespace simt
