#include "spec_fit.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "checkpoint_parts.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/canonical_name.hpp"
#include "lisa/model/quantisable.hpp"

namespace lisa::program {

void add_tensors(TensorTable& table, std::span<const StoredTensor> tensors) {
  constexpr std::string_view inner_tower = "model.vision_tower.vision_tower.";
  for (const StoredTensor& tensor : tensors) {
    std::string name = canonical_name(tensor.name);
    if (name.starts_with(inner_tower)) name.erase(0, inner_tower.size());
    table.emplace(std::move(name), tensor);
  }
}

Defects spec_differences(const SpecEntry& spec, const CheckpointConfig& config, const TensorTable& table) {
  Defects differences = config_differences(spec.configs, config);
  if (!differences.empty()) return differences;
  const bool has_tower =
      std::ranges::any_of(table, [](const auto& entry) { return part_of(entry.first) == Part::vision_tower; });
  for (const ParameterInfo& parameter : spec.parameters()) {
    if (parameter.part == Part::vision_tower && !has_tower) continue;
    const auto found = table.find(parameter.name);
    if (found == table.end())
      differences.add(printable(parameter.name) + ": missing, expected " + shape_text(parameter.shape));
    else if (found->second.shape != parameter.shape &&
             !(found->second.dtype == StoredDtype::u8 &&
               fits_quantised(parameter.name, parameter.shape, found->second.shape)))
      differences.add(printable(parameter.name) + ": " +
                      found_expected(shape_text(found->second.shape), shape_text(parameter.shape)));
  }
  return differences;
}

}  // namespace lisa::program
