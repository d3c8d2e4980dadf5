#pragma once

#include <filesystem>
#include <string>

#include "lisa/base/error.hpp"
#include "lisa/files/mapped_file.hpp"
#include "lisa/image/image.hpp"
#include "lisa/image/read_image.hpp"

namespace lisa {

/// The picture at `path`, which must have the size of its annotation.
/// @param annotation where that size is from, for the message
/// @throws MismatchError for another size, and what `read_image` throws
[[nodiscard]] inline Image read_picture(const std::filesystem::path& path, ImageSize size,
                                        const std::string& annotation) {
  Image image = read_image(path);
  if (image.size() != size)
    throw MismatchError(
        shown_path(path), "",
        found_expected(shown_size(image.size()) + " pixels", shown_size(size) + " as in " + annotation));
  return image;
}

}  // namespace lisa
