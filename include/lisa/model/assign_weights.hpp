#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"
#include "lisa/checkpoint/archive.hpp"
#include "lisa/checkpoint/canonical_name.hpp"
#include "lisa/gpu/staged_upload.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/part.hpp"
#include "lisa/model/precision.hpp"
#include "lisa/model/quantisable.hpp"
#include "lisa/nn/quantised_linear.hpp"

namespace lisa {

/// The files a model is put together from. A LISA checkpoint holds everything but the vision tower; the base weights
/// of a training start hold less: LLaVA's folder and SAM's own file.
struct WeightFiles {
  /// An archive with the path it was asked for, for messages.
  struct Source {
    std::string path;
    TensorArchive archive;
  };
  Source checkpoint;
  std::optional<Source> vision_tower;  ///< CLIP folder, names `vision_model.*`
  std::optional<Source> sam;           ///< SAM's own .pth, names without prefix
  std::optional<Source> adapter;       ///< PEFT folder with lora_A / lora_B
};

namespace detail {

/// An archive by canonical names, which remembers the tensors that found their place.
class CanonicalTensors {
 public:
  explicit CanonicalTensors(const TensorArchive& archive) {
    for (const auto& [name, tensor] : archive.tensors) by_name_.emplace(canonical_name(name), &tensor);
  }

  [[nodiscard]] const ArchivedTensor* take(const std::string& name) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return nullptr;
    taken_.insert(name);
    return found->second;
  }

  template <class Visitor>
  void for_each_left(Visitor&& visit) const {
    for (const auto& [name, tensor] : by_name_)
      if (!taken_.contains(name)) visit(name, *tensor);
  }

 private:
  std::map<std::string, const ArchivedTensor*> by_name_;
  std::set<std::string> taken_;
};

/// Names that a checkpoint may hold beside the parameters and that carry nothing: recomputed buffers.
[[nodiscard]] inline bool is_recomputed_buffer(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with("pixel_mean") || name.ends_with("pixel_std");
}

/// Finds the tensor of every parameter, checks all of them, and only then writes any.
template <ModelSpec S>
class WeightAssignment {
 public:
  WeightAssignment(Lisa<S>& model, const WeightFiles& files)
      : model_(model), files_(files), main_(files.checkpoint.archive) {
    if (files.vision_tower) tower_.emplace(files.vision_tower->archive);
    if (files.sam) sam_.emplace(files.sam->archive);
    if (files.adapter) adapter_.emplace(files.adapter->archive);
  }

  void run(Precision precision, at::Device device) {
    collect_parts();
    collect_adapter();
    collect_extra();
    throw_defects();
    write(precision, device);
  }

 private:
  struct Pending {
    Part part;
    at::Tensor* target;
    at::Tensor value;
    bool quantised = false;
  };

  void collect_parts() {
    model_.for_each_part([&](Part part, auto& module, const std::string& prefix) {
      module.for_each_parameter(prefix, [&](const std::string& name, at::Tensor& target, const Shape& shape) {
        collect(part, name, find(part, name), target, shape);
      });
    });
  }

  const ArchivedTensor* find(Part part, const std::string& name) {
    constexpr std::string_view visual_model = "model.visual_model.";
    switch (part) {
      case Part::vision_tower:
        if (const auto* inside = main_.take("model.vision_tower.vision_tower." + name)) return inside;
        return tower_ ? tower_->take(name) : nullptr;
      case Part::image_encoder:
      case Part::mask_decoder:
        if (const auto* inside = main_.take(name)) return inside;
        return sam_ && name.starts_with(visual_model) ? sam_->take(name.substr(visual_model.size())) : nullptr;
      default:
        break;
    }
    if (adapter_)  // a PEFT folder may carry fully trained modules, such as the embeddings, as well
      if (const auto* trained = adapter_->take(name)) return trained;
    return main_.take(name);
  }

  void collect(Part part, const std::string& name, const ArchivedTensor* found, at::Tensor& target,
               const Shape& shape) {
    if (found == nullptr) {
      missing_.add(printable(name) + ": expected " + to_string(shape));
      return;
    }
    if (is_quantised(found->value) && fits_quantised(name, shape, shape_of(found->value))) {
      pending_.push_back({part, &target, found->value, true});
      return;
    }
    if (shape_of(found->value) != shape) {
      misshaped_.add(printable(name) + ": " + found_expected(to_string(shape_of(found->value)), to_string(shape)));
      return;
    }
    if (!found->value.is_floating_point()) {
      misshaped_.add(printable(name) + ": " +
                     found_expected(at::toString(found->value.scalar_type()), "a floating-point dtype"));
      return;
    }
    pending_.push_back({part, &target, found->value});
  }

  /// Adapters come from their own folder or stand, unmerged, in the checkpoint; a projection without any stays plain.
  void collect_adapter() {
    if constexpr (requires { model_.llm.for_each_adapter([](const std::string&, at::Tensor&, const Shape&) {}); }) {
      model_.llm.for_each_adapter([&](const std::string& name, at::Tensor& target, const Shape& shape) {
        const ArchivedTensor* found = adapter_ ? adapter_->take(name) : main_.take(name);
        if (found != nullptr || adapter_) collect(Part::llm, name, found, target, shape);
      });
    }
  }

  void collect_extra() {
    main_.for_each_left([&](const std::string& name, const ArchivedTensor& tensor) {
      if (is_recomputed_buffer(name) || name.starts_with("model.vision_tower.")) return;
      extra_.add(printable(name) + ": found " + to_string(shape_of(tensor.value)));
    });
    const auto unexpected = [&](const std::optional<CanonicalTensors>& tensors, const std::string& path,
                                auto&& ignored) {
      if (!tensors) return;
      tensors->for_each_left([&](const std::string& name, const ArchivedTensor& tensor) {
        if (is_recomputed_buffer(name) || ignored(name)) return;
        extra_.add(printable(name) + " in " + printable(path) + ": found " + to_string(shape_of(tensor.value)));
      });
    };
    if (files_.vision_tower)
      unexpected(tower_, files_.vision_tower->path, [](const std::string& name) {
        if constexpr (requires { Lisa<S>::VisionTower::is_unused(name); }) return Lisa<S>::VisionTower::is_unused(name);
        return false;
      });
    const auto nothing = [](const std::string&) { return false; };
    if (files_.sam) unexpected(sam_, files_.sam->path, nothing);
    if (files_.adapter) unexpected(adapter_, files_.adapter->path, nothing);
  }

  void throw_defects() const {
    std::string text;
    for (const auto& [defects, what] :
         {std::pair{&missing_, "missing tensors"}, std::pair{&misshaped_, "tensors that do not fit"},
          std::pair{&extra_, "tensors that the model has no place for"}}) {
      if (defects->empty()) continue;
      text += (text.empty() ? "" : "\n") + defects->report(what);
    }
    if (!text.empty()) throw MismatchError(files_.checkpoint.path, "weights for " + std::string(S::name), text);
  }

  void write(Precision precision, at::Device device) {
    std::map<Part, at::ScalarType> stored;
    for (const Pending& weight : pending_)
      if (!weight.quantised) stored.try_emplace(weight.part, weight.value.scalar_type());
    gpu::StagedUpload upload;
    for (const Pending& weight : pending_) {
      const at::ScalarType dtype =
          weight.quantised ? at::kByte : dtype_of(weight.part, precision, stored[weight.part], stored[Part::llm]);
      *weight.target = upload.to(weight.value, device, dtype);
      if (!weight.target->is_same(weight.value)) release_source(weight.value);
    }
  }

  /// A converted tensor's mapped bytes are not needed any more. A tensor that is no view of a file keeps its memory.
  void release_source(const at::Tensor& value) const {
    const auto* const begin = static_cast<const std::byte*>(value.const_data_ptr());
    for (const auto* source : {&files_.checkpoint, files_.vision_tower ? &*files_.vision_tower : nullptr,
                               files_.sam ? &*files_.sam : nullptr, files_.adapter ? &*files_.adapter : nullptr}) {
      if (source == nullptr) continue;
      for (const auto& file : source->archive.files) {
        const std::byte* const data = file->data();
        if (begin >= data && begin < data + file->size())
          file->release(static_cast<std::uint64_t>(begin - data), value.nbytes());
      }
    }
  }

  Lisa<S>& model_;
  const WeightFiles& files_;
  CanonicalTensors main_;
  std::optional<CanonicalTensors> tower_, sam_, adapter_;
  std::vector<Pending> pending_;
  Defects missing_, misshaped_, extra_;
};

}  // namespace detail

/// Gives every parameter of the model its tensor: mapped memory where dtype and device allow, converted otherwise.
/// Nothing is written unless everything fits.
/// @throws MismatchError one report of every missing, extra and mis-shaped tensor, with names, found and expected
template <ModelSpec S>
void assign_weights(Lisa<S>& model, const WeightFiles& files, Precision precision, at::Device device = at::kCPU) {
  detail::WeightAssignment<S>(model, files).run(precision, device);
}

}  // namespace lisa
