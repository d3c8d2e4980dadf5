// The modules of every preset, which take their tensors from the published files, against the published totals that the
// configurations are held to (tests/config/parameters_test.cpp).
#include <functional>
#include <map>
#include <numeric>
#include <string>

#include "lisa/model/lisa_model.hpp"
// After libtorch, whose logging defines CHECK.
#include <doctest/doctest.h>

namespace {

using namespace lisa;

dim product(const Shape& shape) { return std::accumulate(shape.begin(), shape.end(), dim{1}, std::multiplies<>()); }

}  // namespace

TEST_CASE("the modules of every preset hold as many values as the published parts") {
  for_each_preset([]<class S>() {
    CAPTURE(std::string(S::name));
    Lisa<S> model;
    std::map<Part, dim> values;
    model.for_each_part([&](Part part, auto& module, const std::string& prefix) {
      module.for_each_parameter(
          prefix, [&](const std::string&, at::Tensor&, const Shape& shape) { values[part] += product(shape); });
    });
    CHECK(values.at(Part::llm) == parameters(S::llm));
    CHECK(values.at(Part::visual_projector) == parameters(S::vision.hidden, S::llm.hidden, S::visual_projector));
    CHECK(values.at(Part::seg_projector) == parameters(S::llm.hidden, S::sam.prompt_dim, S::seg));
    CHECK(values.at(Part::image_encoder) == image_encoder_parameters(S::sam));
    // SAM's files hold its matrix of random frequencies too, which is no parameter: [2, prompt_dim / 2].
    CHECK(values.at(Part::image_encoder) + values.at(Part::mask_decoder) == parameters(S::sam) + S::sam.prompt_dim);

    // The tower ends at the feature layer: neither the block behind it nor the last norm is there.
    constexpr ClipConfig tower = S::vision;
    constexpr dim block = parameters(tower) - parameters([] {
                            ClipConfig shorter = S::vision;
                            --shorter.layers;
                            return shorter;
                          }());
    const dim unused = (tower.layers - blocks_run(tower)) * block + 2 * tower.hidden;
    CHECK(values.at(Part::vision_tower) == parameters(tower) - unused);

    dim adapters = 0;
    model.llm.for_each_adapter(
        [&](const std::string&, at::Tensor&, const Shape& shape) { adapters += product(shape); });
    CHECK(adapters == parameters(S::llm, S::lora));
  });
}
