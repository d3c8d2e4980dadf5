#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "lisa/image/image.hpp"
#include "lisa/model/answer.hpp"
#include "spec_entry.hpp"

namespace lisa::program {

/// Which files an answer leaves.
struct AnswerFileOptions {
  std::filesystem::path folder;
  bool overlay = true;
  bool logits = false;    ///< raw mask logits at the image's size, safetensors
  bool polygons = false;  ///< COCO polygons beside the run lengths in the record
};

/// An answer as a JSON record; the files it names are those that `write_answer` wrote.
struct WrittenAnswer {
  nlohmann::ordered_json record;
  std::vector<std::string> masks;  ///< paths, in the order of the masks
  std::string overlay;             ///< path, empty without one
};

/// Writes masks and overlay of an answer under `<id>_...` and returns its record.
/// @throws IoError; files already written stay, each of them whole
[[nodiscard]] WrittenAnswer write_answer(const std::string& id, const Image& image, const Answer& answer,
                                         const ModelSession& session, const AnswerFileOptions& options);

/// One line of JSON; bytes that are not UTF-8 are replaced.
[[nodiscard]] std::string json_line(const nlohmann::ordered_json& value);

/// What a person wants to read about an answer: text, masks with their files, overlay, time of each stage.
[[nodiscard]] std::string answer_in_words(const Answer& answer, const WrittenAnswer& written);

/// Peak resident memory of the process so far, bytes.
[[nodiscard]] double peak_memory();

}  // namespace lisa::program
