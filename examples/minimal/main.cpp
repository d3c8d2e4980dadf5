#include <iostream>
#include <lisa/lisa.hpp>

int main(int argc, char** argv) try {
  if (argc != 5) throw lisa::InputError("arguments", "expected CHECKPOINT CLIP_FOLDER IMAGE QUESTION");
  const auto model = lisa::load<lisa::Lisa7B>(argv[1], {.vision_tower = argv[2]});
  lisa::Predictor predictor(model);
  predictor.set_image(lisa::read_image(argv[3]));
  const lisa::Answer answer = predictor.ask(argv[4]);
  std::cout << answer.text << '\n';
  for (std::size_t i = 0; i < answer.masks.size(); ++i)
    lisa::write_png("mask_" + std::to_string(i) + ".png", answer.masks[i].bits);
} catch (const lisa::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
