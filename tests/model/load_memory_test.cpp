// What loading weights takes of anonymous memory, by the reports of libtorch's allocator: the same on every machine,
// where resident memory also counts pages of files and what the C library keeps for later.
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "tests/model/golden_spec.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;
using namespace lisa::test;

/// Counts the bytes of the tensors that this thread holds while it lives.
class TensorMemory {
 public:
  [[nodiscard]] std::int64_t now() const { return count_->now; }
  [[nodiscard]] std::int64_t peak() const { return count_->peak; }

 private:
  struct Count final : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override {
      now += bytes;
      peak = std::max(peak, now);
    }
    [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }
    std::int64_t now = 0, peak = 0;
  };

  std::shared_ptr<Count> count_ = std::make_shared<Count>();
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, count_};
};

/// Bytes of all parameters that lie outside of the mapped files.
std::int64_t converted_bytes(Lisa<GoldenSpec>& model, const WeightFiles& files) {
  std::int64_t bytes = 0;
  const auto is_mapped = [&](const at::Tensor& value) {
    const auto* const data = static_cast<const std::byte*>(value.const_data_ptr());
    for (const auto* archive : {&files.checkpoint.archive, &files.vision_tower->archive})
      for (const auto& file : archive->files)
        if (data >= file->bytes().data() && data < file->bytes().data() + file->size()) return true;
    return false;
  };
  model.for_each_part([&](Part, auto& module, const std::string& prefix) {
    module.for_each_parameter(prefix, [&](const std::string&, at::Tensor& value, const Shape&) {
      if (!is_mapped(value)) bytes += static_cast<std::int64_t>(value.nbytes());
    });
  });
  return bytes;
}

}  // namespace

TEST_CASE(
    "weights take at most a tenth more memory while they are loaded than what stays, and none where they are mapped") {
  for (const Precision precision : {Precision::stored, Precision::fp32, Precision::bf16, Precision::mixed}) {
    CAPTURE(to_string(precision));
    const TensorMemory memory;
    const WeightFiles files{.checkpoint = {golden_checkpoint, read_archive(golden_checkpoint)},
                            .vision_tower = WeightFiles::Source{golden_tower, read_archive(golden_tower)},
                            .sam = {},
                            .adapter = {}};
    Lisa<GoldenSpec> model;
    assign_weights(model, files, precision);
    const std::int64_t converted = converted_bytes(model, files);
    CHECK((converted == 0) == (precision == Precision::stored || precision == Precision::fp32));
    CHECK(memory.now() == converted);
    CHECK(memory.peak() <= converted * 11 / 10);
  }
}
