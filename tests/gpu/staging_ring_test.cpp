// torch-free
#include "lisa/gpu/staging_ring.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <deque>
#include <span>
#include <utility>
#include <vector>

//
#include <doctest/doctest.h>

using namespace lisa::gpu;

namespace {

/// A device that takes what it is sent as late as it may: when somebody waits for it.
struct LateDevice {
  struct Copy {
    const std::byte* from;
    std::byte* to;
    std::size_t count;
  };
  std::deque<Copy> under_way;
  std::size_t most_under_way = 0;

  void take_one() {
    const Copy copy = under_way.front();
    under_way.pop_front();
    std::memcpy(copy.to, copy.from, copy.count);
  }
};

/// A buffer that knows how many copies the device has to do until its own is done.
class LateBuffer {
 public:
  LateBuffer(LateDevice& device, std::size_t bytes) : device_(&device), memory_(bytes) {}
  std::span<std::byte> bytes() { return memory_; }
  void wait() {
    ++waits;
    while (sent_ && std::find_if(device_->under_way.begin(), device_->under_way.end(), [&](const auto& copy) {
                      return copy.from == memory_.data();
                    }) != device_->under_way.end())
      device_->take_one();
  }
  void send(std::byte* to, std::size_t count) {
    sent_ = true;
    device_->under_way.push_back({memory_.data(), to, count});
    device_->most_under_way = std::max(device_->most_under_way, device_->under_way.size());
  }
  int waits = 0;

 private:
  LateDevice* device_;
  std::vector<std::byte> memory_;
  bool sent_ = false;
};

/// Passes `size` bytes through `buffers` buffers. @return how many copies were under way at once
std::size_t check_passed(std::size_t buffers, std::size_t buffer_bytes, const std::vector<std::size_t>& sizes) {
  LateDevice device;
  std::vector<LateBuffer> ring_buffers;
  for (std::size_t i = 0; i < buffers; ++i) ring_buffers.emplace_back(device, buffer_bytes);
  StagingRing<LateBuffer> ring(std::move(ring_buffers));
  for (const std::size_t size : sizes) {
    CAPTURE(size);
    std::vector<std::byte> source(size), target(size);
    for (std::size_t i = 0; i < size; ++i) source[i] = static_cast<std::byte>(i * 7 + size);
    ring.pass(
        size,
        [&](std::span<std::byte> to, std::size_t begin) { std::memcpy(to.data(), source.data() + begin, to.size()); },
        [&](LateBuffer& buffer, std::size_t begin, std::size_t count) { buffer.send(target.data() + begin, count); });
    while (!device.under_way.empty()) device.take_one();
    CHECK(target == source);
  }
  return device.most_under_way;
}

}  // namespace

TEST_CASE("bytes arrive whole and in order, whatever their number, from a device that reads late") {
  for (const std::size_t buffers : {1, 2, 3})
    for (const std::size_t bytes : {1, 5, 8}) {
      CAPTURE(buffers);
      CAPTURE(bytes);
      check_passed(buffers, bytes, {0, 1, 4, 5, 6, 8, 9, 10, 15, 16, 17, 40, 3, 41});
    }
}

TEST_CASE("all buffers but the one that is filled are under way") {
  CHECK(check_passed(2, 4, {100}) == 2);
  CHECK(check_passed(3, 4, {100}) == 3);
  CHECK(check_passed(1, 4, {100}) == 1);
  CHECK(check_passed(3, 4, {4}) == 1);
}

TEST_CASE("a piece that was sent before is waited for before its buffer is filled, none else") {
  LateDevice device;
  std::vector<LateBuffer> buffers;
  for (int i = 0; i < 2; ++i) buffers.emplace_back(device, 4);
  StagingRing<LateBuffer> ring(std::move(buffers));
  std::vector<std::byte> target(16);
  std::vector<std::size_t> under_way;  // when each piece is filled
  const auto fill = [&](std::span<std::byte>, std::size_t) { under_way.push_back(device.under_way.size()); };
  const auto send = [&](LateBuffer& buffer, std::size_t begin, std::size_t count) {
    buffer.send(target.data() + begin, count);
  };
  ring.pass(6, fill, send);   // both buffers
  ring.pass(10, fill, send);  // goes on with the first
  CHECK(under_way == std::vector<std::size_t>{0, 1, 1, 1, 1});
}
