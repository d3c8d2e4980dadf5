#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lisa/files/mapped_file.hpp"
#include "lisa/image/preprocess.hpp"
#include "lisa/model/lisa_model.hpp"
#include "lisa/model/precision.hpp"
#include "lisa/text/tokenizer.hpp"

namespace lisa {

/// A model with everything that belongs to its checkpoint.
template <ModelSpec S>
struct LoadedModel {
  /// A model whose weights are still undefined.
  explicit LoadedModel(Tokenizer of_checkpoint) : tokenizer(std::move(of_checkpoint)) {}

  Lisa<S> model;
  Tokenizer tokenizer;
  SamPreprocess sam_preprocess{.side = static_cast<int>(S::sam.image)};
  ClipPreprocess clip_preprocess{.shortest_edge = static_cast<int>(S::vision.image),
                                 .crop = static_cast<int>(S::vision.image)};
  bool image_start_end = true;        ///< whether prompts put the image between `<im_start>` and `<im_end>`
  std::vector<std::string> warnings;  ///< what loading found odd but usable, a line each
  std::vector<std::shared_ptr<const MappedFile>> files;  ///< those that weights may be views of

  /// Throws IoError naming the file when one of the mapped files was truncated since (needs a TruncationGuard): what
  /// was computed from its weights is then wrong.
  void require_intact() const {
    for (const auto& file : files) file->require_intact();
  }
};

}  // namespace lisa
