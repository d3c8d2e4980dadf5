#include "tensor_options.hpp"

#include <array>
#include <charconv>
#include <string_view>
#include <utility>

#include "lisa/base/error.hpp"
#include "lisa/base/printable.hpp"

namespace lisa::program {
namespace {

constexpr std::array<std::pair<std::string_view, double>, 8> units{
    {{"", 1}, {"B", 1}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}}};

}  // namespace

void add_tensor_file_options(CLI::App& command, TensorFileChoice& choice) {
  command.add_option("--format", choice.format, "safetensors or bin (torch.save)")->capture_default_str();
  command.add_option("--max-shard-size", choice.max_shard_size, "most data in one file, such as 5GB or 500MB")
      ->capture_default_str();
}

TensorFileFormat parse_tensor_file_format(const std::string& name) {
  if (name == "safetensors") return TensorFileFormat::safetensors;
  if (name == "bin") return TensorFileFormat::torch_zip;
  throw InputError("format", found_expected(quoted(name), "safetensors or bin"));
}

std::uint64_t parse_byte_size(const std::string& text) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  for (const auto& [name, factor] : units)
    if (error == std::errc() && name == unit && number * factor >= 1 && number * factor < 9e18)
      return static_cast<std::uint64_t>(number * factor);
  throw InputError("max-shard-size", found_expected(quoted(text), "a size such as 5GB, 500MB or 4GiB"));
}

}  // namespace lisa::program
