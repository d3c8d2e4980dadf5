#include "tests/train/run_spec.hpp"

template lisa::TrainingOutcome lisa::run_training<lisa::test::RunSpec>(lisa::LoadedModel<lisa::test::RunSpec>&,
                                                                       lisa::SampleSource, const lisa::DataSet*,
                                                                       const lisa::TrainingRunOptions&,
                                                                       lisa::ProcessGroup&,
                                                                       const lisa::TrainingObserver&);
