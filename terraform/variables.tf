variable "project" {
  description = "The Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where the programs, the database and Kafka run."
  type        = string
  default     = "europe-west4"
}

variable "location" {
  description = "Where the bucket and the datasets are: one and the same, or every load pays for egress."
  type        = string
  default     = "EU"
}

variable "bucket" {
  description = "The name of the bucket, unique in the world."
  type        = string
}

variable "dead_letter_days" {
  description = "After how many days dead letters are deleted; null keeps them."
  type        = number
  default     = null
}

variable "streamcommerce_image" {
  description = "The image of the orchestrator, with its digest."
  type        = string
}

variable "streaming_image" {
  description = "The image of the streaming worker, with its digest."
  type        = string
}

variable "database_tier" {
  description = "The size of the Postgres instance."
  type        = string
  default     = "db-custom-2-7680"
}
