"""PooledHead: what the heads of the tasks on whole texts share."""

from typing import Any

from torch import Tensor, nn

from unmask.learner.batch import Batch
from unmask.learner.head import Head, init_linear
from unmask.model.attention import SequenceLayout
from unmask.model.config import EncoderConfig
from unmask.model.families import FAMILIES
from unmask.model.pooler import Pooler
from unmask.tasks.task import Task


class PooledHead(Head):
    """The pooler of the family, BERT's with tanh, dropout, and a linear layer. -> (sequences, outputs)"""

    def __init__(self, task: Task[Any], encoder: EncoderConfig, outputs: int) -> None:
        super().__init__(task)
        self.pooler = Pooler(encoder, task.settings.pooling)
        if self.pooler.reads_first:  # next-sentence prediction trains a pooler on [CLS]
            self.pretrained_prefixes = tuple(self.pooler.saved_modules())
        self.dropout = nn.Dropout(task.settings.classifier_dropout)
        self.classifier = self.last_layer(encoder, outputs)

    def last_layer(self, encoder: EncoderConfig, outputs: int) -> nn.Module:
        return init_linear(nn.Linear(encoder.hidden_size, outputs), encoder)

    @classmethod
    def public_architecture(cls, task: Task[Any], family: str) -> tuple[str | None, list[str]]:
        # BERT's own head reads the last [CLS]: under its name another library would predict otherwise
        known = FAMILIES[family].head.poolings
        return "BertForSequenceClassification" if task.settings.pooling in known else None, task.labels

    @classmethod
    def head_settings(cls, task: Task[Any]) -> dict[str, Any]:
        return {"pooling": task.settings.pooling}

    def query_positions(self, layout: SequenceLayout) -> SequenceLayout | None:
        return layout.gather_first() if self.pooler.reads_first and layout.is_packed else None

    def pooled(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.dropout(self.pooler(hidden, batch.output_layout))  # type: ignore[no-any-return]

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        return self.classifier(self.pooled(hidden, batch))  # type: ignore[no-any-return]

    def saved_modules(self) -> dict[str, nn.Module]:
        return {**self.pooler.saved_modules(), "classifier": self.classifier}
