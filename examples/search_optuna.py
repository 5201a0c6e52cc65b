"""Choosing a LeNet-5's optimizer, learning rate, weight decay and batch size with Optuna.

Settings come from a tree-structured Parzen estimator (Bergstra et al. 2011). Every epoch reports its validation accuracy, and a
trial that is below the median of the others at the same epoch is stopped there.
Run: python examples/search_optuna.py; needs lanewise[search] and scikit-learn."""
import argparse

import optuna
from sklearn.model_selection import train_test_split

import lanewise as lw
from lanewise import models, nn, optim

OPTIMIZERS = {"adam": (optim.Adam, {}), "sgd": (optim.SGD, dict(momentum=0.9, nesterov=True))}


def objective(data, validation, epochs, seed):
    """The function of a trial that Optuna maximises: accuracy on `validation` after `epochs`."""
    def accuracy_of(trial):
        rate = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        decay = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
        size = trial.suggest_categorical("batch_size", [16, 32, 64])
        make, settings = OPTIMIZERS[trial.suggest_categorical("optimizer", list(OPTIMIZERS))]
        lw.manual_seed(seed)
        model = models.lenet5()
        optimizer = make(model.parameters(), lr=rate, weight_decay=decay, **settings)
        schedule = optim.OneCycleLR(optimizer, rate, total_steps=epochs * -(-len(data[0]) // size))
        trainer = lw.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        for epoch in range(epochs):
            try:
                trainer.fit(data, epochs=1, batch_size=size, schedule=schedule)
            except lw.NonFiniteError as error:
                raise optuna.TrialPruned(str(error)) from None
            accuracy = trainer.evaluate(validation)["accuracy"]
            trial.report(accuracy, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned(f"{accuracy:.3f} after {epoch + 1} epochs is below the median")
        return accuracy
    return accuracy_of


def main(epochs=4, trials=20, seed=0):
    """Search and print; returns the study."""
    training, _ = lw.data.load("fashion-mnist-mini")
    x, xv, y, yv = train_test_split(training.images, training.labels, test_size=0.2, stratify=training.labels,
                                    random_state=seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6),
                                pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0))
    study.optimize(objective((x, y), (xv, yv), epochs, seed), n_trials=trials)
    pruned = [t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED]
    done = sum(len(t.intermediate_values) for t in study.trials)
    print(f"{trials} trials, {len(pruned)} stopped early: {done} of {trials * epochs} epochs")
    print(f"best {100 * study.best_value:.1f} %  " + ", ".join(f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}"
                                                                for k, v in study.best_params.items()))
    return study


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
